// Answers, for each line {"length", "chunk", "links"} of standard input, the CID that ipfs-unixfs-importer gives to a
// file of that length whose byte i is (7i + 3) mod 256.
import { createInterface } from 'node:readline'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'

const nowhere = { async put (cid) { return cid } }

for await (const line of createInterface({ input: process.stdin })) {
  const { length, chunk, links } = JSON.parse(line)
  const content = new Uint8Array(length).map((_, index) => 7 * index + 3)
  const options = {
    cidVersion: 1,
    rawLeaves: true,
    chunker: fixedSize({ chunkSize: chunk }),
    layout: balanced({ maxChildrenPerNode: links })
  }
  for await (const { cid } of importer([{ path: 'file', content }], nowhere, options)) {
    console.log(cid.toString())
  }
}
