variable "name" {
  description = "What every name begins with: project and environment, e.g. \"leaderboard-dev\". Tokens of ours name it as their issuer and audience."
  type        = string
  nullable    = false
}

variable "issuer_role_name" {
  description = "Name of the role of the function that makes tokens."
  type        = string
  nullable    = false
}

variable "signing_key" {
  description = "Which of the two keys signs new tokens, a or b. Tokens of both are accepted."
  type        = string
  nullable    = false
  default     = "a"

  validation {
    condition     = contains(["a", "b"], var.signing_key)
    error_message = "signing_key must be a or b."
  }
}

variable "revoked_tokens" {
  description = "Ids (jti) of tokens that are refused before they expire."
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for id in var.revoked_tokens : can(regex("^[A-Za-z0-9._:-]{1,64}$", id))])
    error_message = "Each of revoked_tokens must be a token's id (jti), 1 to 64 letters, digits and any of . _ : - and not the token itself."
  }

  validation {
    condition     = length(join(",", var.revoked_tokens)) <= 1500
    error_message = "revoked_tokens has more than the authorizer's environment can hold, about 40 ids: take out those that have expired, or change signing_key and make the old key anew, which ends all tokens that it signed."
  }
}

variable "oidc" {
  description = "The studio's own identity provider, whose tokens are accepted too, or null: its issuer, the audience that names this API, where its public keys are, and which claims hold the userId and the scopes; without scope_claim, all of its tokens are players'."
  type = object({
    issuer      = string
    audience    = string
    jwks_url    = string
    user_claim  = optional(string, "sub")
    scope_claim = optional(string)
  })
  default = null

  validation {
    condition     = var.oidc == null ? true : alltrue([for url in [var.oidc.issuer, var.oidc.jwks_url] : can(regex("^https://[^[:space:]]+$", url))])
    error_message = "oidc.issuer and oidc.jwks_url must begin with https://: whoever could change them on the way would make the tokens."
  }

  validation {
    condition     = var.oidc == null ? true : alltrue([for text in values(var.oidc) : text == null ? true : can(regex("^[!-~]{1,255}$", text))])
    error_message = "Each member of oidc must be 1 to 255 visible ASCII characters without spaces."
  }

  validation {
    condition     = var.oidc == null ? true : var.oidc.issuer != var.name
    error_message = "oidc.issuer must not be ${var.name}, which is the issuer of our own tokens."
  }
}
