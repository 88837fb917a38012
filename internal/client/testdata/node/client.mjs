// What a front end written for Node does with the service, by the language's own gRPC and
// nothing of ours but the .proto files and the service config. node_test.go runs it:
//
//	node client.mjs ADDRESS SERVICE_CONFIG PROTO_FOLDER…
//
// Each check that held is a line "ok NAME" on stdout. Between "stop" on stdout and a line on
// stdin the test stops the server; after "waiting" it starts it again.
import assert from "node:assert/strict"
import { createInterface } from "node:readline"
import { isDeepStrictEqual } from "node:util"
import grpc from "@grpc/grpc-js"
import loader from "@grpc/proto-loader"

const [address, serviceConfig, ...includeDirs] = process.argv.slice(2)
const files = ["theater/v1/listing_service.proto", "theater/v1/catalog_service.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"]
const packages = loader.loadSync(files, { includeDirs, keepCase: true, longs: String, enums: String, defaults: true, oneofs: true })
const { theater: { v1: theater } } = grpc.loadPackageDefinition(packages)
const channel = { "grpc.service_config": serviceConfig, "grpc.service_config_disable_resolution": 1 }
const client = (service, more) => new service(address, grpc.credentials.createInsecure(), { ...channel, ...more })
const listing = client(theater.ListingService), catalog = client(theater.CatalogService)
const viewer = { market: "US", languages: ["en"], audience: "ADULT" }
const soon = () => new Date(Date.now() + 30_000)

// call makes a unary call and gives { answer, trailer }, or throws the grpc.ServiceError.
const call = (on, method, request, metadata = new grpc.Metadata(), options = { deadline: soon() }) => new Promise((resolve, reject) => {
  let answer, trailer
  const done = () => answer && trailer && resolve({ answer, trailer })
  on[method](request, metadata, options, (error, value) => error ? reject(error) : (answer = value, done()))
    .on("status", status => { trailer = status.metadata; done() })
})

// failure gives what a call failed with, its details decoded, by type.
async function failure(promise) {
  try {
    await promise
  } catch (error) {
    const details = {}
    for (const bytes of error.metadata.get("grpc-status-details-bin")) {
      const status = packages["google.rpc.Status"].deserialize(bytes)
      assert.equal(status.code, error.code)
      assert.equal(status.message, error.details)
      for (const { type_url, value } of status.details) {
        const name = type_url.replace("type.googleapis.com/", "")
        details[name.replace("google.rpc.", "")] = packages[name].deserialize(value)
      }
    }
    return { code: grpc.status[error.code], message: error.details, details }
  }
  assert.fail("the call succeeded")
}

// stable is an answer without its tokens, which are sealed anew each time.
async function stable(on, method, request) {
  const { answer } = await call(on, method, request)
  for (const page of [answer, ...answer.sections ?? []]) delete page.next_page_token
  return answer
}

const ranked = more => ({ chart: "charts/hot", viewer, page_size: 2, ...more })
const checks = {
  async "a ranked page and the ones behind it"() {
    const names = [], ranks = []
    let generation, page_token = ""
    do {
      const { answer } = await call(listing, "ListRankedFilms", ranked({ page_token }))
      generation ??= answer.generation
      assert.deepEqual(answer.generation, generation)
      for (const { rank, card } of answer.films) {
        names.push(card.name)
        ranks.push(rank)
        assert.notEqual(card.disclosure.text, "")
      }
      page_token = answer.next_page_token
    } while (page_token)
    assert.deepEqual(names, ["films/a", "films/b", "films/c", "films/d", "films/e"])
    assert.deepEqual(ranks, [1, 2, 3, 4, 5])
    assert.match(generation.number, /^[1-9][0-9]*$/)
  },

  async "home and title"() {
    const { answer: home } = await call(listing, "GetHome", { viewer, cards_per_section: 3 })
    assert.ok(home.sections.some(s => s.films.some(f => f.card.name === "films/a")), JSON.stringify(home).slice(0, 2000))
    const { answer: title } = await call(listing, "GetTitle", { name: "films/a", viewer: { ...viewer, languages: ["zh-CN"] } })
    assert.equal(title.card.title, "甲的标题")
    assert.equal(title.card.runtime.seconds, "5400")
  },

  async "errors with their details"() {
    const missing = await failure(call(listing, "ListRankedFilms", { chart: "charts/hot" }))
    assert.equal(missing.code, "INVALID_ARGUMENT")
    assert.match(missing.message, /^viewer: /)
    assert.deepEqual(missing.details.ErrorInfo, { reason: "INVALID_FIELD", domain: "theater", metadata: {} })
    assert.equal(missing.details.BadRequest.field_violations[0].field, "viewer")
    const hidden = await failure(call(listing, "GetTitle", { name: "films/no-such-film", viewer }))
    assert.equal(hidden.code, "NOT_FOUND")
    assert.equal(hidden.details.ErrorInfo.reason, "FILM_NOT_FOUND")
    const token = await failure(call(listing, "ListRankedFilms", ranked({ page_token: "made-up" })))
    assert.equal(token.details.ErrorInfo.reason, "INVALID_PAGE_TOKEN")
    const large = await failure(call(catalog, "GetFilm", { name: "films/" + "a".repeat(8 << 20) }))
    assert.equal(large.code, "RESOURCE_EXHAUSTED")
  },

  async "a write, and reads that are not older"() {
    const film = { name: "films/e", tags: ["from-node"] }
    const { answer, trailer } = await call(catalog, "UpdateFilm", { film, update_mask: { paths: ["tags"] }, request_id: crypto.randomUUID() })
    assert.deepEqual(answer.tags, film.tags)
    const [revision] = trailer.get("theater-revision")
    assert.equal(revision, answer.revision)
    const metadata = new grpc.Metadata()
    metadata.set("theater-min-revision", revision)
    const { answer: read } = await call(catalog, "GetFilm", { name: film.name }, metadata)
    assert.deepEqual({ ...read, stats: null }, { ...answer, stats: null }) // counts are as of when they are asked for
  },

  async "a stream, cancelled"() {
    const seen = [], stream = catalog.WatchFilms({}, { deadline: soon() })
    const ended = await new Promise(resolve => {
      stream.on("data", ({ film, resume_token }) => {
        assert.notEqual(resume_token, "")
        if (film) seen.push(film.name)
        if (seen.length === 3) stream.cancel()
      })
      stream.on("error", resolve)
      stream.on("end", () => resolve({ code: grpc.status.OK }))
    })
    assert.equal(ended.code, grpc.status.CANCELLED)
    assert.deepEqual(seen.slice(0, 3), ["films/a", "films/b", "films/c"])
  },

  async "an import in both directions"() {
    const stream = catalog.ImportFilms({ deadline: soon() }), answers = []
    stream.write({ films: [{ name: "films/f", default_language: "en", localizations: { en: { title: "F" } } }, { name: "films/g" }] })
    stream.end()
    await new Promise((resolve, reject) => stream.on("data", a => answers.push(a)).on("error", reject).on("end", resolve))
    assert.deepEqual(answers.flatMap(a => a.results).map(r => r.outcome), ["CREATED", "CREATED"])
  },

  async "a deadline"() {
    const metadata = new grpc.Metadata(), began = Date.now()
    metadata.set("theater-min-revision", "999999999") // waits up to 2 s
    const late = await failure(call(listing, "GetHome", { viewer }, metadata, { deadline: new Date(began + 150) }))
    // The server answers a moment before the deadline; its answer may still come too late.
    assert.ok(["UNAVAILABLE", "DEADLINE_EXCEEDED"].includes(late.code), late.code)
  },

  async "gzip"() {
    const packed = client(theater.ListingService, { "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip })
    for (const [method, request] of [["ListRankedFilms", ranked()], ["GetHome", { viewer }], ["GetTitle", { name: "films/b", viewer }]]) {
      // Lists and counts move on; between two equal answers there is nothing else to say.
      let before, between, after
      do {
        before = await stable(listing, method, request)
        between = await stable(packed, method, request)
        after = await stable(listing, method, request)
      } while (!isDeepStrictEqual(before, after))
      assert.deepEqual(between, after)
    }
    packed.close()
  },

  async "a server that restarts"() {
    const lines = createInterface({ input: process.stdin })
    const stopped = new Promise(resolve => lines.once("line", resolve))
    console.log("stop")
    await stopped
    const waits = call(listing, "ListRankedFilms", ranked())
    console.log("waiting")
    assert.equal((await waits).answer.films[0].card.name, "films/a")
    lines.close()
  },
}

for (const [name, check] of Object.entries(checks)) {
  await check().catch(error => {
    console.error(`${name}: ${error.stack}`)
    process.exit(1)
  })
  console.log(`ok ${name}`)
}
listing.close()
catalog.close()
