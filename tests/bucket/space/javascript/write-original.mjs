// Writes files as the original program did: each is put into a temporary file of the right name, and added to a folder.
// Options beside those of a session: create, whether to make the bucket first; files, a list of { path, base64 }: the
// paths are "blobs/sha256:<hex>" and "manifests/<name>/<tag>".
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { addItems, answer, client, options, withToken } from './session.mjs'

const { bucket } = options
const metadata = withToken(options.token)
const roots = []
if (options.create) await client.createBucket({ slug: bucket }, metadata)
for (const { path, base64 } of options.files) {
  const directory = mkdtempSync(join(tmpdir(), 'original-'))
  const source = join(directory, posix.basename(path))
  writeFileSync(source, Buffer.from(base64, 'base64'))
  const targetPath = `/${posix.dirname(path)}/`
  const [{ result }] = await addItems({ sourcePaths: [source], targetPath, bucket }, metadata)
  rmSync(directory, { recursive: true })
  // Which the original program did not look at.
  if (result.error) throw new Error(result.error)
  roots.push(result.bucketpath)
}
answer({ roots })
