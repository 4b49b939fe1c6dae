// Goes through what the official client can do with a bucket, and tells what it saw.
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { answer, connect, options, pull } from './session.mjs'

const digest = (content) => createHash('sha256').update(content).digest('hex')
const failure = async (promise) => promise.then(() => null, (error) => error.message)

const { buckets, bucket, token, publicKey } = await connect()
const key = bucket.key
const seen = { bucket, token, publicKey }

seen.again = (await connect()).bucket?.key
const large = Buffer.alloc(700000, 'textile')
const events = []
const small = await buckets.pushPath(key, 'blobs/sha256:small', Buffer.from('small'))
seen.small = { path: small.path.path, root: small.root }
await buckets.pushPath(key, 'blobs/sha256:large', Readable.from(large, { highWaterMark: 65536 }), {
  progress: (count) => events.push(count)
})
await buckets.pushPath(key, 'empty', Buffer.alloc(0))
seen.progress = events
seen.pulled = {
  small: (await pull(buckets, key, 'blobs/sha256:small')).toString(),
  large: digest(await pull(buckets, key, 'blobs/sha256:large')) === digest(large),
  empty: (await pull(buckets, key, 'empty')).length
}
seen.missing = await failure(pull(buckets, key, 'none/at/all'))
seen.stale = await failure(buckets.pushPath(key, 'x', Buffer.from('x'), { root: bucket.path }))
if (buckets.pushPaths) {
  seen.many = []
  const file = (path, text) => ({ path, content: Readable.from([Buffer.from(text)]) })
  for await (const one of buckets.pushPaths(key, [file('/many/one', 'first'), file('many/two', 'second')])) {
    seen.many.push({ path: one.path, cid: one.cid.toString(), size: one.size })
  }
  seen.manyPulled = (await pull(buckets, key, 'many/two')).toString()
}
if (buckets.movePath) {
  await buckets.movePath(key, 'many/one', 'moved')
  seen.moved = (await pull(buckets, key, 'moved')).toString()
}
seen.listed = (await buckets.listPath(key, 'blobs')).item.items.map(({ name, size, isDir }) => ({ name, size, isDir }))
seen.links = await buckets.links(key, 'blobs/sha256:small')
seen.removed = (await buckets.removePath(key, 'blobs/sha256:small')).root.path
seen.gone = await failure(pull(buckets, key, 'blobs/sha256:small'))
seen.names = (await buckets.list()).map((root) => root.name)
seen.root = (await buckets.root(key)).path
if (!options.encrypted) {
  const item = (await buckets.listPath(key, 'blobs/sha256:large')).item
  await buckets.setPath(key, 'copy', item.cid)
  seen.copied = digest(await pull(buckets, key, 'copy')) === digest(large)
}
answer(seen)
process.exit(0)
