# The functions: one for each folder that the contract names, reconcile, and perhaps the authorizer. They are listed nowhere
# else.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  http_methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]
  reconcile    = "reconcile"
  authorizer   = "authorizer"

  # sessions => [{ name = "POST /sessions", role = "sessions" }, …]
  operations = {
    for operation in flatten([
      for path, item in var.contract.paths : [
        for method, operation in item : {
          key  = try(split(".", operation.operationId)[0], "")
          name = "${upper(method)} ${path}"
          role = try(operation["x-cache-role"], null)
        }
        if contains(local.http_methods, method)
      ]
    ]) : operation.key => operation...
  }

  # Each function's role in the cache. All operations of a function have the same: it has one user. Whoever has none (null)
  # asks the cache nothing, and so is outside the VPC: there it reaches AWS and the internet, and no network interface of it.
  roles = merge(
    { for key, operations in local.operations : key => operations[0].role },
    { (local.reconcile) = "reconcile" },
    { for key in [local.authorizer] : key => null if var.with_authorizer },
  )
  keys   = keys(local.roles)
  inside = { for key, role in local.roles : key => role if role != null }

  # Whoever has one of the other roles cannot write.
  writers = [for key, role in local.inside : key if !contains(["board", "profiles"], role)]
  stopped = var.writes_stopped ? local.writers : []

  # What the maps by function say of each function: its own number, that of `default`, or null.
  of_function = {
    for name, numbers in {
      memory_mb               = var.memory_mb
      timeout_seconds         = var.timeout_seconds
      reserved_concurrency    = var.reserved_concurrency
      provisioned_concurrency = var.provisioned_concurrency
      slow_milliseconds       = var.slow_milliseconds
    } : name => { for key in local.keys : key => try(numbers[key], numbers["default"], null) }
  }
  # Settings that follow from the name and the function: no value sets them.
  measured = {
    for key, milliseconds in local.of_function.slow_milliseconds : key => merge(
      { METRICS_NAMESPACE = var.name },
      { for name in ["SLOW_MILLISECONDS"] : name => tostring(milliseconds) if milliseconds != null && contains(keys(local.operations), key) },
    )
  }
  named_in_maps = concat(["default"], local.keys)
  naming        = "There are ${join(", ", local.keys)}, and `default` for all others."

  descriptions = merge(
    { for key, operations in local.operations : key => substr(join(", ", operations[*].name), 0, 256) },
    {
      (local.reconcile)  = "Finishes what a crash left half-done; a schedule runs it."
      (local.authorizer) = "Says who a request's bearer token is of; API Gateway asks it."
    },
  )

  # ARNs are built from names so that a plan shows policies in full.
  names         = { for key in local.keys : key => "${var.name}-${replace(key, "_", "-")}" }
  account       = data.aws_caller_identity.current.account_id
  partition     = data.aws_partition.current.partition
  region        = data.aws_region.current.id
  function_arns = { for key in local.keys : key => "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${local.names[key]}" }
}

resource "aws_lambda_layer_version" "this" {
  layer_name               = var.name
  description              = "What all functions share: their dependencies and shared/."
  filename                 = "${var.build_path}/layer.zip"
  source_code_hash         = filebase64sha256("${var.build_path}/layer.zip")
  compatible_architectures = [var.architecture]
  compatible_runtimes      = [var.runtime]

  # A published function keeps its layer, even after that is deleted.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_116:The API calls functions synchronously; reconcile's failed events go to its failures queue.
  #checkov:skip=CKV_AWS_272:The zips are built where Terraform runs and are reproducible byte for byte; a signing profile is for the account to choose.
  for_each = local.roles

  function_name                  = local.names[each.key]
  description                    = local.descriptions[each.key]
  role                           = aws_iam_role.function[each.key].arn
  handler                        = "functions.${each.key}.handler.handler"
  filename                       = "${var.build_path}/functions/${each.key}.zip"
  source_code_hash               = filebase64sha256("${var.build_path}/functions/${each.key}.zip")
  layers                         = [aws_lambda_layer_version.this.arn]
  runtime                        = var.runtime
  architectures                  = [var.architecture]
  memory_size                    = local.of_function.memory_mb[each.key]
  timeout                        = local.of_function.timeout_seconds[each.key]
  reserved_concurrent_executions = contains(local.stopped, each.key) ? 0 : coalesce(local.of_function.reserved_concurrency[each.key], -1)
  kms_key_arn                    = var.kms_key_arn
  publish                        = true

  environment {
    variables = merge(
      var.environment, local.measured[each.key], lookup(var.own_environment, each.key, {}),
      each.value == null || var.cache == null ? {} : {
        VALKEY_USER      = var.cache.users[each.value].name
        VALKEY_IAM_CACHE = var.cache.name
      },
    )
  }

  logging_config {
    log_format            = "JSON"
    log_group             = aws_cloudwatch_log_group.function[each.key].name
    application_log_level = "INFO" # everything that the functions write
    system_log_level      = "INFO" # with REPORT: how long an init took, and how much memory was used, is in no metric
  }

  tracing_config {
    mode = "Active"
  }

  # Empty is none. Not a dynamic block: those who read a plan would not see what it is made from.
  vpc_config {
    subnet_ids         = each.value == null ? [] : var.subnet_ids
    security_group_ids = each.value == null ? [] : var.security_group_ids
  }

  lifecycle {
    precondition {
      condition     = length(distinct(try(local.operations[each.key][*].role, [each.value]))) == 1
      error_message = "The function ${each.key} can have only one role in the cache, and the operations of the contract name several: ${join(", ", [for role in distinct(try(local.operations[each.key][*].role, [])) : coalesce(role, "none")])}. Give them one x-cache-role, or two functions."
    }
  }

  # When it makes the function, Lambda checks that its role may make network interfaces.
  depends_on = [aws_iam_role_policy.function, aws_iam_role_policy.settings_key]
}
