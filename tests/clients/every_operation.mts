// Asks for every operation once: a new one needs nothing here. Arguments: the API's URL, a JSON list of the contract's
// examples. Prints each reply.

import assert from "node:assert/strict";
import { opened } from "./told.mjs";

interface Example {
  method: string;
  path: string;
  parameters: Record<string, string>;
  query: Record<string, unknown>;
  body: unknown;
  status: number;
}

const [baseUrl = "", examples = "[]"] = process.argv.slice(2);

// The compiler cannot know an operation that is only named at run time.
const ask = opened(baseUrl).request as unknown as (
  method: string,
  path: string,
  init: { params: { path: Example["parameters"]; query: Example["query"] }; body?: unknown },
) => Promise<{ response: Response }>;

for (const example of JSON.parse(examples) as Example[]) {
  const params = { path: example.parameters, query: example.query };
  const init = example.body === null ? { params } : { params, body: example.body };
  const { response } = await ask(example.method.toLowerCase(), example.path, init);
  assert.equal(response.status, example.status, example.path);
}
