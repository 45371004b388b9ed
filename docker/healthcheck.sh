#!/usr/bin/env bash
# Well when what this container runs answers: the JobManager's or the gateway's REST endpoint, or a TaskManager's metrics.
set -euo pipefail
rest="http://127.0.0.1:${THALWEG_REST_PORT:-8081}/overview"
gateway="http://127.0.0.1:${THALWEG_GATEWAY_PORT:-8083}/v1/info"
metrics="http://127.0.0.1:${THALWEG_METRICS_PORT:-9249}/metrics"
for address in "$rest" "$gateway" "$metrics"; do
  if curl --fail --silent --show-error --max-time 3 --output /dev/null "$address" 2>/dev/null; then
    exit 0
  fi
done
echo "none of $rest, $gateway and $metrics answers" >&2
exit 1
