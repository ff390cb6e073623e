# Until 2026-11-28 everything that the module holds was in the root. A state of that time keeps all that it has.

moved {
  from = aws_kms_key.operations
  to   = module.leaderboard.aws_kms_key.operations[0]
}

moved {
  from = aws_kms_alias.operations
  to   = module.leaderboard.aws_kms_alias.operations[0]
}

moved {
  from = module.network
  to   = module.leaderboard.module.network[0]
}

moved {
  from = module.cache
  to   = module.leaderboard.module.cache
}

moved {
  from = module.functions
  to   = module.leaderboard.module.functions
}

moved {
  from = module.api
  to   = module.leaderboard.module.api
}

moved {
  from = module.monitoring
  to   = module.leaderboard.module.monitoring
}

moved {
  from = module.delivery
  to   = module.leaderboard.module.delivery
}
