// Fetches CIDs with @helia/verified-fetch over HTTP alone. For each line {"url", "cid", "how", "headers"} of standard
// input it prints the status, type, sha256 and length of what came, and whom it has connected to so far.
// The URL is that of a trustless gateway ("how" is gateway), or of a router that knows of one (routing).
import { contacts } from './contacts.mjs'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { withHTTP } from '@helia/http'
import { createVerifiedFetch } from '@helia/verified-fetch'
import { createHeliaLight } from 'helia'

for await (const line of createInterface({ input: process.stdin })) {
  const { url, cid, how, headers } = JSON.parse(line)
  const helia = withHTTP(createHeliaLight(), {
    allowInsecure: true,
    allowLocal: true,
    delegatedRouters: how === 'routing' ? [url] : [],
    recursiveGateways: how === 'gateway' ? [url] : []
  })
  // Gateways are asked when routers know nobody; without a router Helia 7 waits for one for ever.
  if (how === 'gateway') helia.addRouter({ name: 'nobody', async * findProviders () {} })
  const verifiedFetch = await createVerifiedFetch(await helia.start())
  const answer = await verifiedFetch(`ipfs://${cid}`, { headers, signal: AbortSignal.timeout(30_000) })
  const hash = createHash('sha256')
  let length = 0
  for await (const piece of answer.body) {
    hash.update(piece)
    length += piece.length
  }
  const type = answer.headers.get('content-type')
  console.log(
    JSON.stringify({ status: answer.status, type, sha256: hash.digest('hex'), length, contacts: [...contacts] })
  )
  await verifiedFetch.stop()
}
