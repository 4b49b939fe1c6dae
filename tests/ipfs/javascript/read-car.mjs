// Reads a CAR from a URL, compares each block with its CID, and prints the roots and the CIDs.
import { CarBlockIterator } from '@ipld/car'
import { sha256 } from 'multiformats/hashes/sha2'

const response = await fetch(process.argv[2], { headers: { Accept: 'application/vnd.ipld.car' } })
const reader = await CarBlockIterator.fromIterable(response.body)
const cids = []
for await (const { cid, bytes } of reader) {
  const { digest } = await sha256.digest(bytes)
  if (Buffer.compare(digest, cid.multihash.digest) !== 0) throw new Error(`${cid} is damaged`)
  cids.push(cid.toString())
}
console.log(JSON.stringify({ roots: (await reader.getRoots()).map(String), cids }))
