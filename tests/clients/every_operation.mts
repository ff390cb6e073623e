// Asks for every operation once: a new one needs nothing here. Arguments: the API's URL, a JSON list of the contract's
// examples, each with the headers of somebody who may have it. Prints each reply.

import assert from "node:assert/strict";
import { opened } from "./told.mjs";

interface Example {
  method: string;
  path: string;
  parameters: Record<string, string>;
  query: Record<string, unknown>;
  body: unknown;
  headers: Record<string, string>;
  status: number;
}

const [baseUrl = "", examples = "[]"] = process.argv.slice(2);

// The compiler cannot know an operation that is only named at run time.
const ask = opened(baseUrl).request as unknown as (
  method: string,
  path: string,
  init: { params: { path: Example["parameters"]; query: Example["query"] }; body?: unknown; headers: Example["headers"] },
) => Promise<{ response: Response }>;

for (const example of JSON.parse(examples) as Example[]) {
  const common = { params: { path: example.parameters, query: example.query }, headers: example.headers };
  const init = example.body === null ? common : { ...common, body: example.body };
  const { response } = await ask(example.method.toLowerCase(), example.path, init);
  assert.equal(response.status, example.status, example.path);
}
