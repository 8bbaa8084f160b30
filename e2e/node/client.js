// A day of an application that uses node-vault: all that a client of Vault would notice
// is compared here; the last line says that it came to the end.
const assert = require('node:assert')
const vault = require('node-vault')({ endpoint: process.env.VAULT_ADDR })

async function day () {
  assert.equal((await vault.health()).sealed, false)
  const login = await vault.userpassLogin({ username: 'demo', password: 'demo' })
  vault.token = login.auth.client_token
  assert.equal((await vault.tokenLookupSelf()).data.id, vault.token)

  await vault.write('secret/data/node/app', { data: { colour: 'grün', n: 1 } })
  const read = await eventually(() => vault.read('secret/data/node/app'))
  assert.deepEqual(read.data.data, { colour: 'grün', n: 1 })
  await vault.update('secret/data/node/app', { data: { n: 2 } }, { headers: { 'Content-Type': 'application/merge-patch+json' } })
  await eventually(async () => assert.equal((await vault.read('secret/data/node/app')).data.data.n, 2))
  assert.deepEqual((await vault.list('secret/metadata/node')).data.keys, ['app'])
  await vault.delete('secret/data/node/app')
  await eventually(() => assert.rejects(vault.read('secret/data/node/app'), { message: /Status 404/ }))

  await assert.rejects(vault.read('sys/policies/acl/root'), { message: /permission denied/ })
  await vault.tokenRenewSelf()
  await vault.tokenRevokeSelf()
  await assert.rejects(vault.read('secret/data/hello'), { message: /permission denied/ })
  console.log('the day is over')
}

// eventually allows for replication: a write is read elsewhere a moment later.
async function eventually (f) {
  for (const end = Date.now() + 20000; ;) {
    try {
      return await f()
    } catch (e) {
      if (Date.now() > end) throw e
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

day().catch(e => { console.error(e); process.exit(1) })
