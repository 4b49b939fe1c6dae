// What the scripts here share: a client of one of the installed releases, and a bucket found or made the way the
// original program does it.
import { readFileSync } from 'node:fs'

// The options of a script: one file of JSON, named on the command line.
// client: "6.3.4" or "4.1.0"; host; key and secret, or neither for a buckd; user: whether the key is a user-group
// key; bucket; thread; encrypted; anew: on a buckd, whether to look for no thread, as the original program did when
// several things were asked of it at once for the first time: each looked before another had made one.
export const options = JSON.parse(readFileSync(process.argv[2], 'utf8'))

export async function connect() {
  const hub = (await import(`hub-${options.client}`)).default
  const keyInfo = { key: options.key ?? '', secret: options.secret }
  const buckets = await hub.Buckets.withKeyInfo(keyInfo, { host: options.host })
  const identity = hub.PrivateKey.fromRandom()
  const token = options.user ? await buckets.getToken(identity) : undefined
  const bucket = options.key ? await onHub(buckets) : await onBuckd(hub, buckets)
  return { buckets, bucket, token, publicKey: identity.public.toString() }
}

async function onHub(buckets) {
  const found = await buckets.getOrCreate(options.bucket, {
    threadName: options.thread,
    encrypted: options.encrypted
  })
  return found.root
}

async function onBuckd(hub, buckets) {
  const client = new hub.Client(buckets.context)
  // A list of { id, name } in 6.x; an object from id to { name } in 4.x.
  const dbs = await client.listDBs()
  const named = Array.isArray(dbs)
    ? dbs.map(({ id, name }) => [id.toString(), name])
    : Object.entries(dbs).map(([id, info]) => [id, info.name])
  const known = !options.anew && named.find(([, name]) => name === options.thread)
  if (known) {
    buckets.withThread(known[0])
    return (await buckets.list()).find((root) => root.name === options.bucket)
  }
  const id = hub.ThreadID.fromRandom()
  await client.newDB(id, options.thread)
  buckets.withThread(id.toString())
  return (await buckets.create(options.bucket, { encrypted: options.encrypted })).root
}

export async function pull(buckets, key, path) {
  const chunks = []
  for await (const chunk of buckets.pullPath(key, path)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

// The one line of JSON that a script answers with.
export function answer(value) {
  process.stdout.write(JSON.stringify(value) + '\n')
}
