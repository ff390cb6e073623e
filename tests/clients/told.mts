// A client with the types generated from the contract. It prints each reply as a line of JSON.

import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { paths } from "./api.mjs";

const printing: Middleware = {
  async onResponse({ request, response }) {
    const { pathname, search } = new URL(request.url);
    const headers = Object.fromEntries(response.headers);
    const body = await response.clone().text();
    console.log(JSON.stringify({ method: request.method, path: pathname + search, status: response.status, headers, body }));
    return undefined;
  },
};

export function opened(baseUrl: string): Client<paths> {
  const client = createClient<paths>({ baseUrl });
  client.use(printing);
  return client;
}
