#!/usr/bin/env bash
# The broker's permissions, by rabbitmqctl, on a machine that has the node's cookie:
#
#   deploy/rights/broker.sh VHOST PREFIX WORKER [PRODUCER]
#   deploy/rights/broker.sh / file-recycler recycler billing
#
# WORKER runs file-recycler: it makes its own exchange and queues, publishes to them and consumes them. PRODUCER is an
# application that sends events: it may publish to the exchange, and nothing else. Both users are yours to make
# (rabbitmqctl add_user NAME); what they may do in this virtual host is replaced. A second time changes nothing.
# For a node in a container: RABBITMQCTL='docker exec NAME rabbitmqctl' deploy/rights/broker.sh …
set -euo pipefail

if [ $# -lt 3 ] || [ $# -gt 4 ]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
vhost=$1 worker=$3 producer=${4:-}
# The prefix as a regular expression: a dot in it is a dot.
# shellcheck disable=SC2016 # these are the characters themselves
prefix=$(printf '%s' "$2" | sed 's/[][\.|$(){}?+*^]/\\&/g')
read -ra rabbitmqctl <<<"${RABBITMQCTL:-rabbitmqctl}"

# A script may come by standard input, which is none of rabbitmqctl's business.
set_permissions() { "${rabbitmqctl[@]}" set_permissions --vhost "$vhost" "$@" </dev/null; }

own="$prefix\\.(events|work|wait\\..+|dead)"
# configure: declares exchange and queues. write: publishes to the exchange, binds queues, and sends to a queue by the
# default exchange (amq.default), by which waiting and dead messages go too. read: consumes, and binds to the exchange.
set_permissions "$worker" "^$own\$" "^($own|amq\\.default)\$" "^$own\$"
if [ -n "$producer" ]; then
  set_permissions "$producer" '^$' "^$prefix\\.events\$" '^$'
fi
