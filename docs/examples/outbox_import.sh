# Moves the rows of an outbox with `python -m tasks import`. Run it again whatever happened.
set -eu
db=$1

last=$(sqlite3 "$db" "SELECT coalesce(max(id), 0) FROM webhook_outbox")
sqlite3 "$db" "SELECT json_set(webhook, '\$.app_id', app_id)
               FROM webhook_outbox WHERE id <= $last" > "$db.jsonl"
python -m tasks import "$db.jsonl"
sqlite3 "$db" "DELETE FROM webhook_outbox WHERE id <= $last"
