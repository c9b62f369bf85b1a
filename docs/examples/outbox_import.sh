# Moves the rows of an outbox with `python -m tasks import`. Run it again whatever happened.
set -eu
db=$1

query() {
    sqlite3 -cmd ".timeout 5000" "$db" "$1" # others may be writing just now
}

last=$(query "SELECT coalesce(max(id), 0) FROM webhook_outbox")
query "SELECT json_set(webhook, '\$.app_id', app_id)
       FROM webhook_outbox WHERE id <= $last" > "$db.jsonl"
python -m tasks import "$db.jsonl"
query "DELETE FROM webhook_outbox WHERE id <= $last"
