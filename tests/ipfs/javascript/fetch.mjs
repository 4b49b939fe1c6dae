// Fetches a file by CID with Helia over HTTP alone, and prints its sha256 and length.
// node fetch.mjs URL CID gateway|routing: the URL is that of a trustless gateway, or of a router that knows of one.
import './newer-node.mjs'
import { createHash } from 'node:crypto'
import { trustlessGateway } from '@helia/block-brokers'
import { createHeliaHTTP } from '@helia/http'
import { delegatedHTTPRouting, httpGatewayRouting } from '@helia/routers'
import { unixfs } from '@helia/unixfs'
import { CID } from 'multiformats/cid'

const [url, cid, how] = process.argv.slice(2)
const helia = await createHeliaHTTP({
  blockBrokers: [trustlessGateway({ allowInsecure: true, allowLocal: true })],
  routers: [how === 'routing' ? delegatedHTTPRouting(url) : httpGatewayRouting({ gateways: [url] })]
})
const hash = createHash('sha256')
let length = 0
for await (const piece of unixfs(helia).cat(CID.parse(cid), { signal: AbortSignal.timeout(30_000) })) {
  hash.update(piece)
  length += piece.length
}
console.log(JSON.stringify({ sha256: hash.digest('hex'), length }))
await helia.stop()
