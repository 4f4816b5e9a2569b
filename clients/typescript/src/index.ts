/**
 * A typed client of Annals' HTTP API. The types are generated from the OpenAPI document (`schema.ts`); openapi-fetch makes the calls. So a
 * wrong path, a missing field or a misspelt parameter is an error of the compiler.
 */

import createClient, { type FetchOptions, type FetchResponse, type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, operations, paths } from "./schema.js";

/** The schemas of the API by their names, such as `Schemas["AuditedEvent"]`. */
export type Schemas = components["schemas"];

type Method = "get" | "post" | "put" | "patch" | "delete";
type PathsWith<M extends Method> = { [Path in keyof paths]: paths[Path][M] extends undefined ? never : Path }[keyof paths];
type Operation<Path extends keyof paths, M extends Method> = Extract<paths[Path][M], Record<string, any>>;
/** What the client asks for. Lists can also be had as text (NDJSON, CSV), with another `Accept` and `parseAs`; their types are not ours. */
type Media = "application/json" | "application/problem+json";
type OptionsOf<Operation> = object extends FetchOptions<Operation> ? [options?: FetchOptions<Operation>] : [options: FetchOptions<Operation>];

/**
 * A method of openapi-fetch. Its own type accepts any further member of the options and of the body; with this one, a misspelt optional field
 * is an error of the compiler, too.
 */
type Call<M extends Method> = <Path extends PathsWith<M>>(
  path: Path,
  ...options: OptionsOf<Operation<Path, M>>
) => Promise<FetchResponse<Operation<Path, M>, object, Media>>;

/** The API: a method of HTTP, a path of the document, and the options of openapi-fetch (`params`, `body`, `signal`, …). */
export interface Annals {
  GET: Call<"get">;
  POST: Call<"post">;
  PUT: Call<"put">;
  PATCH: Call<"patch">;
  DELETE: Call<"delete">;
}

export interface Settings {
  /** The address of the server, without `/api/v1`. */
  baseUrl: string;
  /** A JSON Web Token, or a function that returns one. The function is called for each request, so it can renew a token that expires. */
  token: string | (() => string | Promise<string>);
  /** Used instead of the global `fetch`, for example to retry or to trace. */
  fetch?: (request: Request) => Promise<Response>;
}

/** A client whose requests carry the token. */
export function createAnnals({ baseUrl, token, fetch }: Settings): Annals {
  const authorize: Middleware = {
    async onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${typeof token === "string" ? token : await token()}`);
      return request;
    },
  };
  // As the document says of `data`: each member is a parameter of its own.
  const querySerializer = { object: { style: "form", explode: true } } as const;
  const client = createClient<paths>(fetch ? { baseUrl, fetch, querySerializer } : { baseUrl, querySerializer });
  client.use(authorize);
  return client as unknown as Annals;
}

/** A request that Annals refused. Programs decide by `code`; `detail` and `errors` say to a person what is wrong. */
export class AnnalsProblem extends Error {
  override readonly name = "AnnalsProblem";
  readonly status: number;
  /** Undefined if something before Annals refused the request, for example API Gateway because of too many requests (429). */
  readonly code: Schemas["ProblemCode"] | undefined;
  readonly detail: string;
  readonly errors: readonly Schemas["FieldFault"][];
  /** The server's log has more under this id. */
  readonly requestId: string | undefined;

  constructor(response: Response, body: unknown) {
    const problem: Partial<Schemas["Problem"]> = typeof body === "object" && body !== null ? body : {};
    const detail = problem.detail ?? response.statusText;
    super(`${response.status} ${problem.code ?? ""}: ${detail}`);
    this.status = response.status;
    this.code = problem.code;
    this.detail = detail;
    this.errors = problem.errors ?? [];
    this.requestId = problem.request_id ?? response.headers.get("x-request-id") ?? undefined;
  }
}

/** What a method of the client returns. */
export interface Answer<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

/** The data of an answer. Throws `AnnalsProblem` if the request was refused. */
export async function unwrap<Data>(answer: Promise<Answer<Data>>): Promise<Data> {
  const { data, error, response } = await answer;
  if (!response.ok) {
    throw new AnnalsProblem(response, error);
  }
  return data as Data;
}

/** A page of a list. */
export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

/**
 * Every item of a list, page by page. `read` requests a page; what it gets is part of the query.
 *
 *     for await (const event of items((page) => annals.GET("/api/v1/events", { params: { query: { ...page, processed: true } } }))) { … }
 */
export async function* items<Item>(read: (page: { cursor?: string }) => Promise<Answer<Page<Item>>>): AsyncGenerator<Item> {
  let cursor: string | null | undefined;
  // A page can have fewer items than its limit. Only a cursor of null is the end.
  while (cursor !== null) {
    const page = await unwrap(read(cursor === undefined ? {} : { cursor }));
    yield* page.items;
    cursor = page.next_cursor;
  }
}
