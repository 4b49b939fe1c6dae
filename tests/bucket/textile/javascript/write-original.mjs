// Writes files as the original program did: each by a pushPath of its own, with the bucket looked up anew.
// Options beside those of a session: files, a list of { path, base64 }: the paths are "blobs/sha256:<hex>" and
// "manifests/<name>/<tag>".
import { Readable } from 'node:stream'
import { answer, connect, options } from './session.mjs'

const written = []
let key
for (const { path, base64 } of options.files) {
  const { buckets, bucket } = await connect()
  key = bucket.key
  const pushed = await buckets.pushPath(key, path, Readable.from([Buffer.from(base64, 'base64')]))
  written.push({ path, cid: pushed.path.cid.toString() })
}
answer({ key, written })
process.exit(0)
