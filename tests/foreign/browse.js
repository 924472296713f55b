// Meets a BACnet device as a head-end of another make does, and prints what it saw, one JSON
// object a line: discovers it, reads the object list and the values, subscribes, and listens.
//
// node browse.js HOST:PORT INSTANCE

'use strict'

const bacnet = require('@bacnet-js/client')
const { ObjectType, PropertyIdentifier } = bacnet

const [target, instance] = process.argv.slice(2)
const device = { address: target }
const client = new bacnet.default({ port: 0, interface: '127.0.0.2', apduTimeout: 3000 })
const wanted = [
  PropertyIdentifier.OBJECT_NAME,
  PropertyIdentifier.PRESENT_VALUE,
  PropertyIdentifier.UNITS,
  PropertyIdentifier.RELIABILITY,
  PropertyIdentifier.STATUS_FLAGS,
]

function tell(what) {
  process.stdout.write(JSON.stringify(what) + '\n')
}

function plain(values) {
  return values.map(({ value }) => {
    if (value && value.bitsUsed) return [...value.value]
    return Number.isNaN(value) ? 'NaN' : value // JSON has no NaN
  })
}

client.on('error', (error) => tell({ event: 'error', message: error.message }))

client.on('covNotifyUnconfirmed', ({ payload }) => {
  const seen = {}
  for (const { property, value } of payload.values) seen[property.id] = plain(value)[0]
  tell({
    event: 'notification',
    object: `${payload.monitoredObjectId.type},${payload.monitoredObjectId.instance}`,
    value: seen[PropertyIdentifier.PRESENT_VALUE],
    flags: seen[PropertyIdentifier.STATUS_FLAGS],
  })
})

function discover() {
  return new Promise((resolve) => {
    client.on('iAm', (message) => resolve(message))
    client.whoIs(device, { lowLimit: Number(instance), highLimit: Number(instance) })
  })
}

async function main() {
  const { payload } = await discover()
  tell({ event: 'i-am', instance: payload.deviceId, maxApdu: payload.maxApdu })

  const list = await client.readProperty(
    device,
    { type: ObjectType.DEVICE, instance: payload.deviceId },
    PropertyIdentifier.OBJECT_LIST,
  )
  const objects = list.values.map(({ value }) => value)
  tell({ event: 'object-list', objects: objects.map((o) => `${o.type},${o.instance}`) })

  const points = objects.filter(
    (o) => o.type !== ObjectType.DEVICE && o.type !== ObjectType.NETWORK_PORT,
  )
  const answer = await client.readPropertyMultiple(
    device,
    points.map((objectId) => ({
      objectId,
      properties: wanted.map((id) => ({ id, index: 0xffffffff })),
    })),
  )
  for (const { objectId, values } of answer.values) {
    const properties = {}
    for (const { id, value } of values) properties[id] = plain(value)[0]
    tell({
      event: 'object',
      object: `${objectId.type},${objectId.instance}`,
      name: properties[PropertyIdentifier.OBJECT_NAME],
      value: properties[PropertyIdentifier.PRESENT_VALUE],
      units: properties[PropertyIdentifier.UNITS],
      reliability: properties[PropertyIdentifier.RELIABILITY],
      flags: properties[PropertyIdentifier.STATUS_FLAGS],
    })
  }

  const input = points.find((o) => o.type === ObjectType.ANALOG_INPUT)
  await client.subscribeCov(device, input, 1, false, false, 300)
  tell({ event: 'subscribed' })
}

main().catch((error) => {
  tell({ event: 'error', message: error.message })
  process.exitCode = 1
  client.close()
})

// Whoever started us ends us by closing our standard input.
process.stdin.on('end', () => client.close())
process.stdin.resume()
