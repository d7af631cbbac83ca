--- What the modes of kt.kcp set, by the names that kcptun has for them.
return {
  normal = { nodelay = false, interval = 40, resend = 2, nc = true },
  fast = { nodelay = false, interval = 30, resend = 2, nc = true },
  fast2 = { nodelay = true, interval = 20, resend = 2, nc = true },
  fast3 = { nodelay = true, interval = 10, resend = 2, nc = true },
}
