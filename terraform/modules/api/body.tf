# The part of the contract that API Gateway gets: which requests there are, who may make them and which function answers.
# API Gateway reads OpenAPI with JSON Schema draft 4 and refuses or drops what it does not know (nullable, oneOf, examples,
# patterns for the `u` flag, references among responses), and it would report what it checks in its own words, one fault at
# a time. So schemas, responses, examples and prose are left out, and the only model says that a body is a JSON object. The
# function checks everything else and names every fault at once, on AWS as on the local server.

locals {
  methods = ["get", "head", "put", "post", "delete", "patch"] # in the order in which the local server lists them to a browser

  operations = merge([
    for path, item in var.contract.paths : {
      for method in local.methods : "${upper(method)} ${path}" => {
        path     = path
        method   = method
        id       = item[method].operationId
        function = split(".", item[method].operationId)[0]
        has_body = can(item[method].requestBody)
        key      = length(try(item[method].security, var.contract.security, [])) > 0
        token    = var.authorizer != null && length(try(item[method]["x-scopes"], [])) > 0
        parameters = [
          for parameter in concat(try(item.parameters, []), try(item[method].parameters, [])) :
          try(var.contract.components.parameters[basename(parameter["$ref"])], parameter)
        ]
      } if contains(keys(item), method)
    }
  ]...)

  methods_by_path = {
    for path, item in var.contract.paths : path => [for method in local.methods : upper(method) if contains(keys(item), method)]
  }

  body = merge(
    {
      openapi = "3.0.1"
      info    = { title = var.name, version = var.contract.info.version, description = local.description }
      servers = [{ url = "/", "x-amazon-apigateway-endpoint-configuration" = { disableExecuteApiEndpoint = local.only_own_domain } }]

      paths = {
        for path, methods in local.methods_by_path : path => merge(
          { for method in methods : lower(method) => local.requests["${method} ${path}"] },
          { options = local.preflights[path] },
        )
      }

      components = {
        schemas         = { JsonObject = { type = "object" } }
        securitySchemes = local.security_schemes
      }

      # Methods without a model, such as OPTIONS, pass. Of parameters, API Gateway could only check that they are there.
      "x-amazon-apigateway-request-validator"  = "body"
      "x-amazon-apigateway-request-validators" = { body = { validateRequestBody = true, validateRequestParameters = false } }
      "x-amazon-apigateway-gateway-responses"  = local.gateway_responses
      "x-amazon-apigateway-api-key-source"     = "HEADER"
    },
    {
      # A policy needs an access mode: BASIC changes nothing else, STRICT would refuse other host names.
      for key, value in {
        "x-amazon-apigateway-security-policy"      = var.tls_policy
        "x-amazon-apigateway-endpoint-access-mode" = "BASIC"
      } : key => value if var.tls_policy != null
    },
  )

  requests = {
    for key, operation in local.operations : key => merge(
      {
        security   = [for scheme, is_needed in { (local.key_scheme) = operation.key, (local.token_scheme) = operation.token } : { (scheme) = [] } if is_needed]
        parameters = [for one in operation.parameters : { name = one.name, in = one.in, required = one.in == "path", schema = { type = "string" } }]
        responses  = { "200" = { description = "As the function answers" } }

        "x-amazon-apigateway-integration" = {
          type            = "aws_proxy"
          httpMethod      = "POST" # how Lambda is called, whatever the client's method
          uri             = var.functions[operation.function].invoke_arn
          timeoutInMillis = 29000 # the most there is; a function's deadline is far shorter
        }
      },
      # API Gateway checks a body only if its Content-Type is a key here; $default stands for every other one, and for none.
      {
        for key, value in {
          requestBody = {
            content = { for type in ["application/json", "$default"] : type => { schema = { "$ref" = "#/components/schemas/JsonObject" } } }
          }
        } : key => value if operation.has_body
      },
    )
  }

  # API Gateway asks for whatever is named, be it in one requirement or in several; SAM writes several. To API Gateway a scheme
  # with an authorizer is of the type apiKey, too. It asks the authorizer only if there is a header that has the form of a token,
  # and otherwise answers 401 by itself. What the authorizer said of a token holds for cache_seconds, for the whole stage.
  key_scheme   = one([for name, scheme in var.contract.components.securitySchemes : name if scheme.type == "apiKey"])
  token_scheme = "Token"
  security_schemes = merge(
    { (local.key_scheme) = { type = "apiKey", in = "header", name = "x-api-key" } },
    {
      for key in var.authorizer[*] : (local.token_scheme) => {
        type = "apiKey"
        in   = "header"
        name = "Authorization"

        "x-amazon-apigateway-authtype" = "custom"
        "x-amazon-apigateway-authorizer" = {
          type                         = "token"
          authorizerUri                = var.functions[key].invoke_arn
          identityValidationExpression = local.token_form
          authorizerResultTtlInSeconds = local.authorizer_cache_seconds
        }
      }
    },
  )
  token_form               = one([for scheme in var.contract.components.securitySchemes : scheme["x-pattern"] if scheme.type == "http"])
  authorizer_cache_seconds = 300

  # API Gateway answers a browser's preflight request by itself, as the local server does. It needs no key.
  preflights = {
    for path, methods in local.methods_by_path : path => {
      security   = []
      parameters = [for found in regexall("\\{([^}]+)\\}", path) : { name = found[0], in = "path", required = true, schema = { type = "string" } }]
      responses = {
        "204" = {
          description = "What a page may send"
          headers     = { for name in keys(local.preflight_headers[path]) : name => { schema = { type = "string" } } }
        }
      }

      "x-amazon-apigateway-integration" = {
        type                = "mock"
        requestTemplates    = { "application/json" = jsonencode({ statusCode = 204 }) }
        passthroughBehavior = "never" # a preflight request has no body: one with a body gets a 415
        responses = {
          default = {
            statusCode         = "204"
            responseParameters = { for name, value in local.preflight_headers[path] : "method.response.header.${name}" => value }
          }
        }
      }
    }
  }

  preflight_headers = {
    for path, methods in local.methods_by_path : path => merge(local.common_headers, {
      Access-Control-Allow-Methods = "'${join(", ", concat(methods, ["OPTIONS"]))}'"
      Access-Control-Allow-Headers = "'Authorization, Content-Type, Idempotency-Key, X-Amzn-Trace-Id, X-Api-Key'"
      Access-Control-Max-Age       = "'600'"
    })
  }
}
