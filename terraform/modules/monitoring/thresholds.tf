# When each alarm goes off. A row is a threshold, whose name ends in its unit, its default, and what it counts; README.md
# shows the table. `thresholds` replaces a number by its name, and the alarms, their texts and the dashboard follow.
locals {
  threshold_defaults = {
    function_errors_per_5_minutes    = 1  # crashes, timeouts and failed starts of one function
    function_throttles_per_5_minutes = 1  # calls to one function that Lambda refused
    function_failures_per_minute     = 1  # answers of 500 by one function
    authorizer_failures_per_minute   = 1  # requests that API Gateway could not ask the authorizer about
    function_duration_percent        = 80 # share of its time that one call in a hundred to a function may take, unless duration_p99_milliseconds has a number for it
    rollback_errors_per_minute       = 1  # crashes, timeouts and failed starts of one function's alias, which roll a deployment back

    slo_bad_requests = 10 # failed or slow requests in the long window of an objective, below which nobody is told

    cache_data_percent                     = 75 # share of the cache's data limit that is in use
    cache_ecpu_percent                     = 75 # share of the cache's ECPU limit that is in use
    cache_throttled_commands_per_minute    = 1  # commands refused at the cache's ECPU limit or a slot's
    cache_evictions_per_5_minutes          = 1  # sessions dropped because the cache was full
    cache_refused_sign_ins_per_5_minutes   = 1  # sign-ins to the cache that were refused
    cache_throttled_sign_ins_per_5_minutes = 1  # sign-ins to the cache that nobody checked, because there were too many
    cache_refused_keys_per_5_minutes       = 1  # keys that an access string did not cover
    cache_refused_commands_per_5_minutes   = 1  # commands that an access string did not allow

    reconcile_backlog_runs             = 4  # runs of reconcile that left an intent unfinished, after its first minute
    reconcile_mended_per_5_minutes     = 1  # players whose board entry and profile differed
    reconcile_unreadable_per_5_minutes = 1  # players whose profile or intent cannot be read
    reconcile_standstill_minutes       = 10 # time without a run of reconcile
    reconcile_failed_runs              = 1  # runs of reconcile whose events are in its failures queue

    security_refusals_per_5_minutes       = 1000 # requests with arguments or a body that are refused
    security_conflicts_per_5_minutes      = 100  # keys of requests that came again with another body
    security_cache_sign_ins_per_5_minutes = 1    # sign-ins of functions that the cache refused
  }

  thresholds = merge(local.threshold_defaults, var.thresholds)

  # What an alarm's text says after its verb if once is not enough.
  times = { for name, number in local.thresholds : name => number == 1 ? "" : " at least ${number} times" }
}
