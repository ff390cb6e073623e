// What a game in TypeScript does with the types generated from the contract, and some errors.
// It compiles only if what is optional is optional, and only if replies have the members that are read here.
// Prints each reply as a line of JSON. Arguments: the API's URL, an id for the player.

import assert from "node:assert/strict";
import type { components } from "./api.mjs";
import { opened } from "./told.mjs";

type Problem = components["schemas"]["Problem"];
type User = components["schemas"]["User"];
type Receipt = components["schemas"]["Receipt"];
type Operator = components["schemas"]["Operator"];

const [baseUrl = "", userId = ""] = process.argv.slice(2);

const client = opened(baseUrl);

function taken<Data>(reply: { data?: Data; error?: unknown }): Data {
  assert(reply.data !== undefined, JSON.stringify(reply.error));
  return reply.data;
}

// Users
const email = "ada@example.com";
const key = `creation-of-${userId}`;
const creation = { body: { username: "Ada", email, userId }, params: { header: { "Idempotency-Key": key } } };
const user: User = taken(await client.POST("/users", creation)).user;
assert.equal(user.score, 0);
const again = await client.POST("/users", creation);
assert.equal(again.response.headers.get("Idempotency-Replayed"), "true");
assert.equal(taken(again).user.createdAt, user.createdAt);

const player = { params: { path: { userId } } };
const set = taken(await client.PUT("/users/{userId}/score", { ...player, body: { score: 700 } }));
assert.equal(set.user.score, 700);
const operator: Operator = "best";
const body = { score: 1500, operator, gameData: { map: "harbour" } };
const best = taken(await client.PUT("/users/{userId}/score", { ...player, body }));
const receipt: Receipt = best.receipt;
assert.equal(receipt.delta, 800);
assert.equal(receipt.next?.points ?? 0, 0);
assert.deepEqual(best.gameData, { map: "harbour" });

assert.equal(taken(await client.GET("/users/{userId}", player)).user.email, email);

// The board
const page = taken(await client.GET("/leaderboard"));
const entry = page.leaderboard[0];
assert.equal(entry?.username, "Ada");
assert.equal(taken(await client.GET("/leaderboard", { params: { query: { limit: 1, offset: 1 } } })).totalPlayers, 1);
assert.equal(taken(await client.GET("/users/{userId}/rank", player)).rank.percentile, 100);
const near = taken(await client.GET("/users/{userId}/nearby", { params: { path: { userId }, query: { range: 3 } } }));
assert.deepEqual(near.players.map((entry) => entry.isCurrentUser), [true]);

// Sessions
const begun = taken(await client.POST("/sessions", { body: { userId, sessionData: { gameMode: "duel" } } }));
const session = { params: { path: { sessionId: begun.session.sessionId } } };
assert.equal(taken(await client.GET("/sessions/{sessionId}", session)).session["gameMode"], "duel");
assert.equal((await client.DELETE("/sessions/{sessionId}", session)).response.status, 204);

// The rest
assert.equal(taken(await client.GET("/stats")).stats.totalGames, 2);
assert.equal(taken(await client.GET("/health")).valkey.connected, true);
assert.equal((await client.HEAD("/health")).response.status, 200);

// Errors
const missing = await client.GET("/sessions/{sessionId}", session);
const problem: Problem | undefined = missing.error;
assert.equal(problem?.code, "session_not_found");
const refused = await client.PUT("/users/{userId}/score", { ...player, body: { score: 1.5 } });
assert.deepEqual(refused.error?.errors?.map((error) => [error.name, error.in]), [["score", "body"]]);

// What must not compile: a missing required member, an unknown member, an unknown operator.
const put = client.PUT<"/users/{userId}/score", { params: { path: { userId: string } }; body: components["schemas"]["UpdateScore"] }>;
export const wrong = [
  // @ts-expect-error: the name is required
  () => client.POST("/users", { body: { email: "ada@example.com" } }),
  // @ts-expect-error: requests are closed
  () => put("/users/{userId}/score", { ...player, body: { score: 1, points: 7 } }),
  // @ts-expect-error: there is no such operator
  () => put("/users/{userId}/score", { ...player, body: { score: 1, operator: "double" } }),
];
