// Notes whom this process connects to: HOST:PORT of each TCP or TLS connection, `udp` for a datagram socket.
import { subscribe } from 'node:diagnostics_channel'
import { Socket } from 'node:net'

export const contacts = new Set()

const connect = Socket.prototype.connect
Socket.prototype.connect = function (...given) {
  const [first] = given
  const options = Array.isArray(first) ? first[0] : first
  contacts.add(`${options.host}:${options.port}`)
  return connect.apply(this, given)
}
subscribe('udp.socket', () => contacts.add('udp'))
