# Every caller calls the alias `live`, never a version. Who moves it is a value, and `ignore_changes` cannot depend on one:
# hence two resources, of which one exists. On a running system, move the state when you change the value, or the alias is
# made anew:
# A=module.leaderboard.module.functions.aws_lambda_alias; terraform state mv $A.moved_by_terraform $A.moved_by_codedeploy

locals {
  alias = merge(aws_lambda_alias.moved_by_terraform, aws_lambda_alias.moved_by_codedeploy)

  # Built with the alias's own name: it is known at plan, and whoever uses the ARN waits for the alias.
  alias_arns = { for key, arn in local.function_arns : key => "${arn}:${local.alias[key].name}" }
}

resource "aws_lambda_alias" "moved_by_terraform" {
  for_each = { for key in local.keys : key => key if var.alias_mover == "terraform" }

  name             = "live"
  description      = "What callers get. An apply moves it to the newest version."
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = aws_lambda_function.this[each.key].version
}

resource "aws_lambda_alias" "moved_by_codedeploy" {
  for_each = { for key in local.keys : key => key if var.alias_mover == "codedeploy" }

  name             = "live"
  description      = "What callers get. An apply publishes a version; a deployment moves this to it."
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = aws_lambda_function.this[each.key].version

  lifecycle {
    ignore_changes = [function_version, routing_config]
  }
}

resource "aws_lambda_provisioned_concurrency_config" "this" {
  for_each = { for key, warm in local.of_function.provisioned_concurrency : key => warm if coalesce(warm, 0) > 0 }

  function_name                     = local.alias[each.key].function_name
  qualifier                         = local.alias[each.key].name
  provisioned_concurrent_executions = each.value
}
