// Fetches a CID with @helia/verified-fetch over HTTP alone, and prints the status, type, sha256 and length of what came,
// and whom it connected to.
// node fetch.mjs URL CID gateway|routing [HEADERS]: the URL is that of a trustless gateway, or of a router that knows of
// one; the headers are JSON.
import { contacts } from './contacts.mjs'
import { createHash } from 'node:crypto'
import { withHTTP } from '@helia/http'
import { createVerifiedFetch } from '@helia/verified-fetch'
import { createHeliaLight } from 'helia'

const [url, cid, how, headers] = process.argv.slice(2)
const helia = withHTTP(createHeliaLight(), {
  allowInsecure: true,
  allowLocal: true,
  delegatedRouters: how === 'routing' ? [url] : [],
  recursiveGateways: how === 'gateway' ? [url] : []
})
// Gateways are asked when routers know nobody; without a router Helia 7 waits for one for ever.
if (how === 'gateway') helia.addRouter({ name: 'nobody', async * findProviders () {} })
const verifiedFetch = await createVerifiedFetch(await helia.start())
const answer = await verifiedFetch(`ipfs://${cid}`, {
  headers: JSON.parse(headers ?? '{}'),
  signal: AbortSignal.timeout(30_000)
})
const hash = createHash('sha256')
let length = 0
for await (const piece of answer.body) {
  hash.update(piece)
  length += piece.length
}
const type = answer.headers.get('content-type')
console.log(JSON.stringify({ status: answer.status, type, sha256: hash.digest('hex'), length, contacts: [...contacts] }))
await verifiedFetch.stop()
