# The emulator's bucket for the state. Where the emulator is says AWS_ENDPOINT_URL_S3: docs/emulator.md.
bucket                      = "leaderboard-local-states"
key                         = "local.tfstate"
region                      = "eu-central-1"
encrypt                     = true
use_lockfile                = true
use_path_style              = true
skip_credentials_validation = true
skip_metadata_api_check     = true
skip_requesting_account_id  = true
skip_region_validation      = true
