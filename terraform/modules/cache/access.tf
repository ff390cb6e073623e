# access.yaml and former.yaml as access strings for ElastiCache, in the order of Valkey's own ACL LIST: keys, then commands.

locals {
  access = yamldecode(file("${path.module}/access.yaml"))
  former = yamldecode(file("${path.module}/former.yaml"))

  grants = {
    for role in setunion(keys(local.access), keys(local.former)) : role => {
      for kind in ["keys_to_read", "keys", "commands"] : kind =>
      distinct(concat(try(local.access[role][kind], []), try(local.former[role][kind], [])))
    }
  }

  access_strings = {
    for role, grants in local.grants : role => join(" ", concat(
      ["on"], # otherwise the user would be off
      [for key in grants.keys_to_read : "%R~${key}"],
      [for key in grants.keys : "~${key}"],
      ["-@all"],
      [for command in grants.commands : "+${command}"],
    ))
  }

  # { rank = ["read"] }: whom versions of the release before connect as.
  former_roles = transpose({ for role, grants in local.former : role => try(grants.functions, []) })
}
