// What the scripts here share: the official client in node, and its answers as promises.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import xhr from 'xmlhttprequest-ssl'

// The client was made for browsers (and Electron).
globalThis.XMLHttpRequest = xhr.XMLHttpRequest

const require = createRequire(import.meta.url)
const { SpaceClient } = require('@fleekhq/space-client')
export const messages = require('@fleekhq/space-client/dist/definitions/space_pb')

// The options of a script: one file of JSON, named on the command line.
// host; token, once there is one; bucket.
export const options = JSON.parse(readFileSync(process.argv[2], 'utf8'))

export const client = new SpaceClient({ url: options.host, defaultBucket: options.bucket })

export const withToken = (token) => ({ authorization: `AppToken ${token}` })

// What a promise fails with, or null where it does not.
export const failure = async (promise) =>
  promise.then(() => null, ({ code, message }) => ({ code, message }))

// The messages of an addItems, in order, and the status that it ends with.
export function addItems(payload, metadata) {
  return new Promise((resolve, reject) => {
    const items = []
    const stream = client.addItems(payload, metadata)
    stream.on('data', (message) => items.push(message.toObject()))
    stream.on('error', reject)
    stream.on('status', ({ code }) => {
      if (code === 0) resolve(items)
    })
  })
}

// The one line of JSON that a script answers with.
export function answer(value) {
  process.stdout.write(JSON.stringify(value) + '\n')
}
