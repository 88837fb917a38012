// What a web page of another origin does with the service, by the public Connect library,
// over each protocol of the HTTP port. browser_test.go opens the page and reads
// window.checks: the names of the checks that held, or the error of the first that did not.
import { create, createFileRegistry, fromBinary } from "@bufbuild/protobuf"
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import { Code, ConnectError, createClient } from "@connectrpc/connect"
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web"

const baseUrl = new URL(location).searchParams.get("server")

function expect(what, got, want) {
  const text = v => JSON.stringify(v, (_, x) => typeof x === "bigint" ? `${x}` : x)
  if (text(got) !== text(want)) throw new Error(`${what}: got ${text(got)}, want ${text(want)}`)
}

async function schema() {
  const bytes = await (await fetch("schema.binpb")).arrayBuffer()
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, new Uint8Array(bytes)))
}

// failure gives what a call failed with.
async function failure(promise) {
  try {
    await promise
  } catch (error) {
    return ConnectError.from(error)
  }
  throw new Error("the call succeeded")
}

// conversation is the same over every protocol; used is told the HTTP method of each call.
async function conversation(registry, transport, used) {
  const listing = createClient(registry.getService("theater.v1.ListingService"), transport)
  const catalog = createClient(registry.getService("theater.v1.CatalogService"), transport)
  const viewer = { market: "US", languages: ["en"], audience: registry.getEnum("theater.v1.Viewer.Audience").values.find(v => v.name === "ADULT").number }
  const ErrorInfo = registry.getMessage("google.rpc.ErrorInfo"), BadRequest = registry.getMessage("google.rpc.BadRequest")

  const names = [], ranks = []
  let pageToken = "", generation
  do {
    const page = await listing.listRankedFilms({ chart: "charts/hot", viewer, pageSize: 2, pageToken })
    generation ??= page.generation.number
    expect("generation", page.generation.number, generation)
    names.push(...page.films.map(f => f.card.name))
    ranks.push(...page.films.map(f => f.rank))
    pageToken = page.nextPageToken
  } while (pageToken)
  expect("films", names, ["films/a", "films/b", "films/c", "films/d", "films/e"])
  expect("ranks", ranks, [1, 2, 3, 4, 5])

  let revision
  const headers = { authorization: "Bearer as-if", traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00" }
  await listing.getHome({ viewer }, { headers, onHeader: h => revision ??= h.get("theater-revision"), onTrailer: t => revision ??= t.get("theater-revision") })
  expect("a revision", /^[1-9][0-9]*$/.test(revision), true)

  const broken = await failure(listing.listRankedFilms({ chart: "charts/hot" }))
  expect("code", Code[broken.code], "InvalidArgument")
  expect("message", broken.rawMessage.startsWith("viewer: "), true)
  const [info] = broken.findDetails(ErrorInfo), [bad] = broken.findDetails(BadRequest)
  expect("reason", [info.reason, info.domain], ["INVALID_FIELD", "theater"])
  expect("field", bad.fieldViolations[0].field, "viewer")
  for (let n = 0; n < 5; n++) { // each GET after the first revalidates the copy it finds
    expect("title", (await listing.getTitle({ name: "films/b", viewer })).card.title, "Title of b")
  }
  const hidden = await failure(listing.getTitle({ name: "films/no-such-film", viewer }))
  expect("code", [Code[hidden.code], hidden.findDetails(ErrorInfo)[0].reason], ["NotFound", "FILM_NOT_FOUND"])

  const late = await failure(listing.getHome({ viewer }, { timeoutMs: 150, headers: { "theater-min-revision": "999999999" } }))
  // The server answers a moment before the deadline; its answer may still come too late.
  expect("code", ["Unavailable", "DeadlineExceeded"].includes(Code[late.code]), true)

  const seen = [], enough = new AbortController()
  const cancelled = await failure((async () => {
    for await (const { film } of catalog.watchFilms({}, { signal: enough.signal })) {
      if (film) seen.push(film.name)
      if (seen.length === 3) enough.abort()
    }
  })())
  expect("code", Code[cancelled.code], "Canceled")
  expect("watched", seen.slice(0, 3), ["films/a", "films/b", "films/c"])

  used.length = 0
  const written = await catalog.updateFilm({
    film: create(registry.getMessage("theater.v1.Film"), { name: "films/e", tags: [crypto.randomUUID()] }), updateMask: { paths: ["tags"] }, requestId: crypto.randomUUID(),
  })
  expect("a write", used, ["POST"])
  used.length = 0
  expect("read", (await catalog.getFilm({ name: "films/e" })).tags, written.tags)
  return used
}

const transports = {
  "Connect JSON": o => createConnectTransport(o),
  "Connect JSON by GET": o => createConnectTransport({ ...o, useHttpGet: true }),
  "Connect protobuf": o => createConnectTransport({ ...o, useBinaryFormat: true }),
  "Connect protobuf by GET": o => createConnectTransport({ ...o, useBinaryFormat: true, useHttpGet: true }),
  "gRPC-Web": o => createGrpcWebTransport(o),
}

async function run() {
  const registry = await schema(), held = []
  for (const [name, transport] of Object.entries(transports)) {
    const used = []
    const counted = (input, init) => (used.push(init.method), fetch(input, init))
    try {
      await conversation(registry, transport({ baseUrl, fetch: counted }), used)
      expect("a read", used, [name.endsWith("GET") ? "GET" : "POST"])
    } catch (error) {
      return [`${name}: ${error.stack}`]
    }
    held.push(name)
  }
  return held
}

window.checks = run()
