// Goes through what the official client can do with a daemon that was just installed, and tells what it saw.
// Options beside those of a session: sources, a list of files; refused, the one of them that the daemon won't take.
import { readFileSync } from 'node:fs'
import { addItems, answer, client, failure, messages, options, withToken } from './session.mjs'

const seen = {}
const object = async (promise) => (await promise).toObject()
const { bucket, sources } = options

seen.unauthenticated = await failure(client.listBuckets())
const token = (await object(client.initializeMasterAppToken({}))).apptoken
seen.token = token
seen.second = await failure(client.initializeMasterAppToken({}))
const metadata = withToken(token)
seen.wrong = await failure(client.listBuckets(withToken(`${token}x`)))

seen.noKey = await failure(client.getPublicKey(metadata))
seen.mnemonic = (await object(client.generateKeyPairWithForce(metadata))).mnemonic
seen.publicKey = (await object(client.getPublicKey(metadata))).publickey
seen.pairExists = await new Promise((resolve) =>
  client.instance.generateKeyPair(new messages.GenerateKeyPairRequest(), metadata, (error) =>
    resolve(error && { code: error.code, message: error.message })
  )
)

seen.bucket = (await object(client.createBucket({ slug: bucket }, metadata))).bucket
seen.again = (await object(client.createBucket({ slug: bucket }, metadata))).bucket
seen.buckets = (await object(client.listBuckets(metadata))).bucketsList.map(({ name }) => name)

seen.added = await addItems({ sourcePaths: sources, targetPath: '/blobs', bucket }, metadata)
seen.notThere = await failure(addItems({ sourcePaths: ['/none'], targetPath: '', bucket }, metadata))
await client.createFolder({ path: '/manifests/hello', bucket }, metadata)

const names = sources.map((source) => source.split('/').pop())
const kept = names.filter((name) => name !== options.refused)
seen.opened = []
for (const name of kept) {
  const { location } = await object(client.openFile({ path: `/blobs/${name}`, bucket }, metadata))
  seen.opened.push({ name, location, base64: readFileSync(location).toString('base64') })
}
seen.missing = await failure(client.openFile({ path: `blobs/${options.refused}`, bucket }, metadata))
seen.listed = (await object(client.listDirectory({ path: 'blobs', bucket }, metadata))).entriesList
seen.all = (await object(client.listDirectories({ bucket }, metadata))).entriesList.map(({ path }) => path)

await client.toggleBucketBackup({ bucket, backup: true }, metadata)
seen.shared = (await object(client.shareBucket({ bucket }, metadata))).threadinfo
seen.link = await object(
  client.generatePublicFileLink({ bucket, itemPaths: [`blobs/${kept[0]}`], password: 'pw' }, metadata)
)
seen.usage = await failure(client.getUsageInfo(metadata))

await client.removeDirOrFile({ path: `blobs/${kept[0]}`, bucket }, metadata)
seen.gone = await failure(client.openFile({ path: `blobs/${kept[0]}`, bucket }, metadata))
seen.typo = await failure(client.openFile({ path: 'x', bucket: 'typo' }, metadata))
seen.spoiled = await failure(client.listBuckets(metadata))
answer(seen)
