--- The settings that each mode of kt.kcp stands for, by kcptun's names of the modes.
return {
  normal = { nodelay = false, interval = 40, resend = 2, nc = true },
  fast = { nodelay = false, interval = 30, resend = 2, nc = true },
  fast2 = { nodelay = true, interval = 20, resend = 2, nc = true },
  fast3 = { nodelay = true, interval = 10, resend = 2, nc = true },
}
