#!/usr/bin/env bash
# From a selfie to pictures with nothing but curl. Start the service first: twinset serve --open
#     examples/service/order.sh examples/selfie.png examples/garment.png out/service
set -eu

service=${TWINSET_URL:-http://127.0.0.1:8080}
selfie=$1 garment=$2 out=$3
ask() { curl --silent --show-error --fail-with-body -H "X-API-Key: ${TWINSET_API_KEY:-}" "$@"; }
field() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }

face=$(ask -F "file=@$selfie" "$service/v1/uploads" | field '["id"]')
dress=$(ask -F "file=@$garment" "$service/v1/uploads" | field '["id"]')
until=$(date -u -d '+30 days' +%F 2>/dev/null || date -u -v+30d +%F)
consent=$(ask --json "{\"person\": \"me\", \"purposes\": [\"try-on\"], \"until\": \"$until\", \"agreed\": true}" \
    "$service/v1/consents" | field '["id"]')
job=$(ask -H "Idempotency-Key: $face" --json "{\"prompt\": \"short hair, on the beach\", \"selfies\": [\"$face\"],
    \"garments\": [{\"upload\": \"$dress\"}], \"consent\": \"$consent\", \"num\": 2, \"seed\": 7}" \
    "$service/v1/jobs" | field '["id"]')

state=queued
while [ "$state" = queued ] || [ "$state" = running ]; do
    sleep 1
    state=$(ask "$service/v1/jobs/$job" | field '["state"]')
    echo "$state"
done
ask "$service/v1/jobs/$job"
echo
mkdir -p "$out"
for number in 0 1; do
    ask -o "$out/$number.png" "$service/v1/jobs/$job/pictures/$number"
    echo "$out/$number.png"
done
