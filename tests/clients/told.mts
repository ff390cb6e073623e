// A client by the types that were generated from the contract. It prints each reply that came, a line of JSON each.

import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { paths } from "./api.mjs";

const told: Middleware = {
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
  client.use(told);
  return client;
}
