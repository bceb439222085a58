#!/usr/bin/env bash
# A tour of the real binary with grpcurl: what a person would try by hand, each answer judged.
#
# It lists and describes, drives a livestream and a group through their lives, opens every watch, provokes every
# kind of error, and stops the server while streams are open.
# STARLING_BIN and GRPCURL: see lib.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
judge=$root/.ci/e2e/answer.py

# === Calls ===

# L/Method, G/Method and S/Method stand for the methods of the three services.
full() {
    case $1 in
        L/*) echo "starling.livestream.v1.LivestreamService/${1#L/}" ;;
        G/*) echo "starling.group.v1.GroupService/${1#G/}" ;;
        S/*) echo "starling.swarm.v1.ServerService/${1#S/}" ;;
        *) echo "$1" ;;
    esac
}

# curl METHOD JSON: what grpcurl says, the request by standard input: it may be long.
curl() {
    "$GRPCURL" -plaintext -emit-defaults -format-error -max-time 30 -d @ "$address" "$(full "$1")" <<<"$2"
}

# call METHOD JSON: must succeed; sets $answer.
answer=
call() {
    answer=$(curl "$1" "$2" 2>"$scratch/status") || fail "$1 ${2:0:300} was refused: $(cat "$scratch/status")"
}

# expect EXPRESSION: holds for $answer.
expect() {
    "$judge" expect "$1" <<<"$answer" || fail "line ${BASH_LINENO[0]}: the answer is another one"
}

get() {
    "$judge" get "$1" <<<"$answer"
}

# refused METHOD JSON CODE REASON [FIELD]: must be refused so, and answer nothing.
refused() {
    if curl "$1" "$2" >"$scratch/messages" 2>"$scratch/status"; then
        fail "line ${BASH_LINENO[0]}: $1 ${2:0:300} should be refused with $3 ($4), and answers: $(cat "$scratch/messages")"
    fi
    "$judge" refusal "${@:3}" <"$scratch/status" || fail "line ${BASH_LINENO[0]}: $1 ${2:0:300} is refused otherwise"
    ok "$3 $4 ${5:+of $5 }by ${1#?/}"
}

# === Streams ===

declare -A stream_pid

# opened NAME METHOD JSON: a stream in the background, of which the first message has come.
opened() {
    : >"$scratch/$1.out"
    # Not standard input: a job in the background has none.
    "$GRPCURL" -plaintext -emit-defaults -format-error -max-time 60 -d "$3" "$address" "$(full "$2")" \
        >"$scratch/$1.out" 2>"$scratch/$1.err" &
    stream_pid[$1]=$!
    until_true 20 "the first message of $2 ${3:0:300}" begun "$1"
}

begun() {
    [[ -s $scratch/$1.out ]] || { kill -0 "${stream_pid[$1]}" 2>/dev/null || fail "no stream $1: $(cat "$scratch/$1.err")"; }
    [[ -s $scratch/$1.out ]]
}

# heard NAME EXPRESSION: waits until the messages of an opened stream (the list r) satisfy it, sets $answer to them and
# hangs up.
heard() {
    until_true 20 "the stream $1 to tell $2" told "$1" "$2"
    answer=$(<"$scratch/told")
    kill "${stream_pid[$1]}" 2>/dev/null || true
    wait "${stream_pid[$1]}" 2>/dev/null || true
}

told() {
    "$judge" first "$2" <"$scratch/$1.out" >"$scratch/told" 2>/dev/null
}

# closed NAME GOODBYE CODE [REASON]: the server ends the stream with this goodbye and this status.
closed() {
    local status=0
    wait "${stream_pid[$1]}" || status=$?
    "$judge" first "any('goodbye' in m and m.goodbye.reason == 'GOODBYE_REASON_$2' for m in flat(r))" \
        <"$scratch/$1.out" >/dev/null || fail "line ${BASH_LINENO[0]}: the stream $1 had no goodbye $2"
    if [[ $3 == OK ]]; then
        [[ $status -eq 0 ]] || fail "line ${BASH_LINENO[0]}: the stream $1 ended with $(cat "$scratch/$1.err")"
    else
        "$judge" refusal "$3" "$4" <"$scratch/$1.err" || fail "line ${BASH_LINENO[0]}: the stream $1 ended otherwise"
    fi
    ok "stream ends: goodbye $2, status $3 ${4:-}"
}

# watched METHOD JSON EXPRESSION: reads until the messages so far (the list r) satisfy it; sets $answer to them.
watched() {
    local reader
    [[ -p $scratch/fifo ]] || mkfifo "$scratch/fifo"
    "$GRPCURL" -plaintext -emit-defaults -max-time 30 -d "$2" "$address" "$(full "$1")" >"$scratch/fifo" 2>&1 &
    reader=$!
    answer=$("$judge" first "$3" <"$scratch/fifo") || fail "line ${BASH_LINENO[0]}: $1 $2 tells something else"
    kill "$reader" 2>/dev/null || true
    wait "$reader" 2>/dev/null || true
    ok "${1#?/} tells what it should"
}

# long N: a string of N characters; base64 of 3/4 N bytes.
long() {
    head -c "$1" /dev/zero | tr '\0' A
}

# === The tour ===

# Streams of a draining server end at random within the spread: with eight of them, some live long enough to look.
start_server STARLING__DRAIN__SPREAD=8s
printf 'server at %s\n' "$address"

echo '--- reflection and health'
listing=$("$GRPCURL" -plaintext "$address" list)
for service in grpc.health.v1.Health grpc.reflection.v1.ServerReflection starling.group.v1.GroupService \
    starling.livestream.v1.LivestreamService starling.swarm.v1.ServerService; do
    grep -qx "$service" <<<"$listing" || fail "list lacks $service: $listing"
done
ok 'list names our services, health and reflection'
for service in group/v1/group:GroupService livestream/v1/livestream:LivestreamService swarm/v1/server:ServerService; do
    file=${service%:*}
    name=starling.$(dirname "$file" | tr / .).${service#*:}
    declared=$(sed -n 's/^  rpc \([A-Za-z]*\)(.*/'"$name"'.\1/p' "$root/proto/starling/$file.proto" | sort)
    [[ -n $declared && $("$GRPCURL" -plaintext "$address" list "$name" | sort) == "$declared" ]] ||
        fail "list $name differs from the .proto file"
    described=$("$GRPCURL" -plaintext "$address" describe "$name")
    for rpc in $declared; do
        grep -q "rpc ${rpc##*.} (" <<<"$described" || fail "describe $name lacks ${rpc##*.}"
    done
    ok "list and describe $name: $(wc -w <<<"$declared") RPCs, as declared"
done
"$GRPCURL" -plaintext "$address" describe starling.livestream.v1.CreateLivestreamRequest >"$scratch/described"
for field in 'uint64 livestream_id = 1;' 'uint64 node_id = 2;' 'LivestreamConfig config = 3;' 'bytes metadata = 4;' \
    'string request_id = 5;'; do
    grep -q "$field" "$scratch/described" || fail "describe CreateLivestreamRequest lacks $field"
done
ok 'describe a message'

# What older clients speak. grpcurl prefers v1, so it is given the protocol by hand.
cat >"$scratch/v1alpha.proto" <<'PROTO'
syntax = "proto3";
package grpc.reflection.v1alpha;
service ServerReflection {
  rpc ServerReflectionInfo(stream ServerReflectionRequest) returns (stream ServerReflectionResponse);
}
message ServerReflectionRequest {
  oneof message_request { string file_containing_symbol = 4; string list_services = 7; }
}
message ServerReflectionResponse {
  oneof message_response {
    FileDescriptorResponse file_descriptor_response = 4;
    ListServiceResponse list_services_response = 6;
  }
}
message FileDescriptorResponse { repeated bytes file_descriptor_proto = 1; }
message ListServiceResponse { repeated ServiceResponse service = 1; }
message ServiceResponse { string name = 1; }
PROTO
answer=$("$GRPCURL" -plaintext -import-path "$scratch" -proto v1alpha.proto \
    -d '{"list_services":""} {"file_containing_symbol":"starling.group.v1.GroupService"}' \
    "$address" grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo | "$judge" first 'len(r) == 2')
expect '{"starling.group.v1.GroupService", "starling.livestream.v1.LivestreamService", "starling.swarm.v1.ServerService"} <= {s.name for s in r[0].listServicesResponse.service}'
expect 'len(r[1].fileDescriptorResponse.fileDescriptorProto) > 0'
ok 'reflection v1alpha lists services and hands out a file'

for service in '' starling.livestream.v1.LivestreamService starling.group.v1.GroupService; do
    call grpc.health.v1.Health/Check '{"service":"'"$service"'"}'
    expect 'r.status == "SERVING"'
    "$starling" healthcheck --server "http://$address" --service "$service" || fail "healthcheck of '$service' fails"
done
refused grpc.health.v1.Health/Check '{"service":"nobody"}' NOT_FOUND -
ok 'health: the server and both services are SERVING'

echo '--- the server'
call S/GetServerInfo '{}'
expect 'r.version.count(".") == 2 and set(r.features) == {"FEATURE_GRPC_WEB", "FEATURE_REFLECTION"} and r.serverTime is not None'
expect 'all(r.limits.values())'
expect '(r.limits.maxPayloadBytes, r.limits.maxChatPayloadBytes, r.limits.maxPageSize) == (2 ** 20, 2 ** 14, 1000)'
expect '(r.limits.heartbeatInterval, r.limits.defaultLeaseTtl, "maxId" in r.limits) == ("15s", "30s", False)'
expect '[(p.interest[9:], p.priority[9:], p.delayBudget, p.quality[8:]) for p in r.profiles] == [("LOW", "BACKGROUND", "0.200s", "KEYFRAMES"), ("MEDIUM", "NORMAL", "0.050s", "NO_TOP_LAYER"), ("HIGH", "HIGH", "0.010s", "FULL"), ("CRITICAL", "URGENT", "0s", "FULL")]'
ok 'version, features, limits, profiles'

echo '--- a livestream'
call L/CreateLivestream '{"livestream_id":7,"node_id":1,"config":{"star_to_tree_threshold":3,"tree_fanout":2},"metadata":"aGVsbG8="}'
expect 'r.created is True and r.livestream.livestreamId == "7" and r.livestream.revision == "1"'
expect 'r.livestream.state == "LIVESTREAM_STATE_INITIALIZING" and r.livestream.broadcasterNodeId == "1"'
expect 'r.livestream.broadcasterPresent is False and r.livestream.metadata == "aGVsbG8="'
expect 'r.livestream.config == {"starToTreeThreshold": 3, "treeFanout": 2, "subscriberBytesPerSecond": "500000", "keyframeInterval": "2s", "maxViewers": 1000000, "maxLag": "2s", "broadcasterTimeout": "300s"}'
epoch=$(get r.livestream.epoch)
call L/CreateLivestream '{"livestream_id":7,"node_id":1,"config":{"star_to_tree_threshold":3,"tree_fanout":2}}'
expect "r.created is False and r.livestream.epoch == '$epoch'"
call L/CreateLivestream '{"node_id":1,"request_id":"tour"}'
expect 'r.created is True and 0 < int(r.livestream.livestreamId) < 2 ** 53'
drawn=$(get r.livestream.livestreamId)
call L/CreateLivestream '{"node_id":1,"request_id":"tour"}'
expect "r.created is False and r.livestream.livestreamId == '$drawn'"
call L/CreateLivestream '{"livestream_id":"18446744073709551615","broadcaster_node_id":"18446744073709551615"}'
expect 'r.created is True and r.livestream.livestreamId == r.livestream.broadcasterNodeId == "18446744073709551615"'
ok 'create, create again, create without an id, create with the largest ids'

call L/JoinLivestream '{"livestream_id":7,"node_id":1,"lease_ttl":"300s"}'
expect '"viewer" not in r or r.viewer is None'
expect 'r.targets.topology == "TOPOLOGY_STAR" and r.targets.targets == []'
call L/StartLivestream '{"livestream_id":7,"node_id":1}'
expect 'r.livestream.state == "LIVESTREAM_STATE_ACTIVE" and r.livestream.startTime is not None'
revision=$(get r.revision)
call L/StartLivestream '{"livestream_id":7,"node_id":1}'
expect "r.revision == '$revision'"
ok 'the broadcaster joins and starts; again, which changes nothing'

call L/JoinLivestream '{"livestream_id":7,"node_id":2,"mode":"VIEWER_MODE_ACTIVE","endpoint":"cGVlcjI=","lease_ttl":"300s","request_id":"j2"}'
expect 'r.livestream.viewerCount == "1" and r.livestream.revision == r.revision and r.livestream.epoch == r.epoch'
expect 'r.leaseTtl == "300s" and r.viewer.nodeId == "2" and r.viewer.mode == "VIEWER_MODE_ACTIVE" and r.viewer.endpoint == "cGVlcjI="'
expect 'r.viewer.placement.depth == 1 and r.viewer.placement.parentNodeId == "1" and r.viewer.placement.canRelay is True'
expect '{i.channel[15:]: i.interest[9:] for i in r.viewer.interests} == {"VISUAL": "HIGH", "AUDIO": "HIGH", "SCREEN": "HIGH", "CHAT": "MEDIUM", "DATA": "MEDIUM"}'
session_2=$(get r.sessionId)
joined=$answer
call L/JoinLivestream '{"livestream_id":7,"node_id":2,"mode":"VIEWER_MODE_ACTIVE","endpoint":"cGVlcjI=","lease_ttl":"300s","request_id":"j2"}'
[[ $answer == "$joined" ]] || fail "a repeated Join answers differently: $answer instead of $joined"
for node in 3 4 5; do
    call L/JoinLivestream '{"livestream_id":7,"node_id":'$node',"lease_ttl":"300s"}'
done
call L/JoinLivestream '{"livestream_id":7,"node_id":6,"mode":"VIEWER_MODE_LURKER","lease_ttl":"300s"}'
expect 'r.targets.topology == "TOPOLOGY_TREE" and r.viewer.placement.canRelay is False'
ok 'viewers join; above the threshold the star becomes a tree'
call L/GetTargets '{"livestream_id":7}'
expect 'r.targets.topology == "TOPOLOGY_TREE" and [t.nodeId for t in r.targets.targets] == ["2", "3"]'
expect 'r.targets.targets[0].endpoint == "cGVlcjI="'
expect '{(c.channel[15:], c.interest[9:], c.quality[8:], c.track) for c in r.targets.targets[0].channels} == {("VISUAL", "HIGH", "FULL", 0), ("AUDIO", "HIGH", "FULL", 0), ("SCREEN", "HIGH", "FULL", 0), ("CHAT", "MEDIUM", "FULL", 0), ("DATA", "MEDIUM", "FULL", 0)}'
expect 'r.targets.placement is None and r.targets.parent is None and r.targets.backupParent is None'
call L/GetTargets '{"livestream_id":7,"node_id":3,"of_node_id":2}'
expect '[t.nodeId for t in r.targets.targets] == ["4", "5"] and r.targets.placement.depth == 1'
expect 'r.targets.parent.nodeId == "1" and r.targets.parent.sessionId != "0" and r.targets.backupParent is None'
call L/GetTargets '{"livestream_id":7,"of_node_id":6}'
expect 'r.targets.placement.depth == 2 and r.targets.placement.parentNodeId == "3" and r.targets.targets == []'
expect 'r.targets.parent.nodeId == "3" and r.targets.backupParent.nodeId == r.targets.placement.backupParentNodeId != "0"'
expect 'r.targets.parent.sessionId != "0" != r.targets.backupParent.sessionId'
"$starling" tree --server "http://$address" --livestream 7 >"$scratch/tree"
grep -q '^livestream 7: active, tree, 5 viewers, depth 2$' "$scratch/tree" || fail "starling tree draws: $(cat "$scratch/tree")"
ok 'targets of the broadcaster, of a relay, of a leaf; starling tree'

token=
pages=
while
    call L/ListViewers '{"livestream_id":7,"page_size":2,"page_token":"'"$token"'"}'
    expect 'len(r.viewers) <= 2'
    pages+=" $(get '*(v.nodeId for v in r.viewers)')"
    token=$(get r.nextPageToken)
    [[ -n $token ]]
do :; done
[[ $(tr ' ' '\n' <<<"$pages" | grep . | sort | paste -sd ' ') == '2 3 4 5 6' ]] || fail "the pages of the viewers are:$pages"
call L/ListViewers '{"livestream_id":7,"page_size":1000}'
expect 'sorted(v.nodeId for v in r.viewers) == ["2", "3", "4", "5", "6"] and r.nextPageToken == ""'
call L/ListViewers '{"livestream_id":7,"node_ids":[5,404,2]}'
expect '[(v.nodeId, v.endpoint, v.interests, v.leaseTtl) for v in r.viewers] == [("5", "", [], None), ("2", "", [], None)]'
call L/GetViewer '{"livestream_id":7,"viewer_node_id":2}'
expect 'r.viewer.nodeId == "2" and r.viewer.endpoint == "" and r.viewer.interests == [] and r.viewer.leaseTtl is None'
call L/GetViewer '{"livestream_id":7,"viewer_node_id":2,"view":"MEMBER_VIEW_FULL"}'
expect 'r.viewer.endpoint == "cGVlcjI=" and len(r.viewer.interests) == 5 and r.viewer.leaseTtl == "300s"'
call L/SetInterest '{"livestream_id":7,"node_id":3,"interests":[{"channel":"UPDATE_CHANNEL_AUDIO","interest":"INTEREST_CRITICAL"},{"channel":"UPDATE_CHANNEL_DATA","interest":"INTEREST_LOW","ttl":"3600s"}]}'
expect '{(i.channel, i.interest, i.expireTime is not None) for i in r.viewer.interests} >= {("UPDATE_CHANNEL_AUDIO", "INTEREST_CRITICAL", False), ("UPDATE_CHANNEL_DATA", "INTEREST_LOW", True)}'
call L/UpdateViewer '{"livestream_id":7,"node_id":3,"metadata":"aGk="}'
expect 'r.viewer.metadata == "aGk=" and r.epoch == "'"$epoch"'"'
call L/UpdateViewer '{"livestream_id":7,"node_id":3,"endpoint":"cGVlcjM=","can_relay":true}'
expect 'r.viewer.metadata == "aGk=" and r.viewer.endpoint == "cGVlcjM=" and r.viewer.placement.canRelay is True'
call L/GetTargets '{"livestream_id":7}'
expect '{t.nodeId: t.endpoint for t in r.targets.targets} == {"2": "cGVlcjI=", "3": "cGVlcjM="}'
call L/UpdateLivestream '{"livestream_id":7,"node_id":1,"metadata":"bWV0YQ=="}'
expect 'r.livestream.metadata == "bWV0YQ=="'
call L/UpdateLivestream '{"livestream_id":7,"node_id":1,"config":{"max_lag":"3s"}}'
expect 'r.livestream.metadata == "bWV0YQ==" and r.livestream.config.maxLag == "3s" and r.livestream.config.treeFanout == 2'
call L/RenewLease '{"livestream_id":7,"node_id":2,"session_id":'"$session_2"'}'
expect 'r.leaseTtl == "300s"'
call L/AddModerator '{"livestream_id":7,"node_id":1,"viewer_node_id":3}'
expect 'r.livestream.moderatorNodeIds == ["3"] and r.viewer.nodeId == "3" and r.viewer.moderator is True'
call L/MuteViewer '{"livestream_id":7,"node_id":3,"viewer_node_id":4}'
expect 'r.livestream.mutedCount == 1 and r.viewer.nodeId == "4" and r.viewer.muted is True'
call L/ListMutedNodes '{"livestream_id":7}'
expect 'r.nodeIds == ["4"] and r.nextPageToken == "" and r.epoch == "'"$epoch"'"'
call L/UnmuteViewer '{"livestream_id":7,"node_id":3,"viewer_node_id":4}'
expect 'r.livestream.mutedCount == 0'
call L/RemoveViewer '{"livestream_id":7,"node_id":3,"viewer_node_id":50,"ban":"3600s"}'
expect 'r.livestream.bannedCount == 1'
call L/ListBans '{"livestream_id":7}'
expect '[b.nodeId for b in r.bans] == ["50"] and r.bans[0].expireTime and r.nextPageToken == ""'
refused L/JoinLivestream '{"livestream_id":7,"node_id":50}' PERMISSION_DENIED BANNED
call L/UnbanViewer '{"livestream_id":7,"node_id":3,"viewer_node_id":50}'
expect 'r.livestream.bannedCount == 0'
call L/RemoveModerator '{"livestream_id":7,"node_id":1,"viewer_node_id":3}'
expect 'r.livestream.moderatorNodeIds == []'
call L/ReportPeer '{"livestream_id":7,"node_id":4,"peer_node_id":2,"reason":"PEER_REPORT_REASON_SLOW"}'
expect 'r.epoch == "'"$epoch"'" and int(r.revision) > 0'
call L/PauseLivestream '{"livestream_id":7,"node_id":1}'
expect 'r.livestream.state == "LIVESTREAM_STATE_PAUSED"'
call L/ResumeLivestream '{"livestream_id":7,"node_id":1}'
expect 'r.livestream.state == "LIVESTREAM_STATE_ACTIVE"'
call L/ListLivestreams '{}'
expect 'sorted(int(l.livestreamId) for l in r.livestreams) == sorted([7, '"$drawn"', 18446744073709551615])'
call L/ListLivestreams '{"livestream_ids":[404,7]}'
expect '[l.livestreamId for l in r.livestreams] == ["7"]'
call L/ListLivestreams '{"states":["LIVESTREAM_STATE_ACTIVE"]}'
expect '[l.livestreamId for l in r.livestreams] == ["7"]'
ok 'pages, interests, metadata, lease, moderators, mutes, pause and resume'
call L/GetStats '{"livestream_id":7}'
expect 'r.stats.joins == "6" and r.stats.leaves == [] and r.stats.members == "6" and r.stats.peakMembers == "6" and r.stats.uniqueMembers == "6"'
expect 'r.stats.uniqueMembersEstimated is False and r.stats.treeDepth == 2 and r.stats.peerReports == "1"'
ok 'stats add up'

echo '--- watches'
watched L/WatchTargets '{"livestream_id":7}' 'len(r) >= 1'
expect '[t.nodeId for t in r[0].snapshot.targets] == ["2", "3"] and r[0].epoch == "'"$epoch"'"'
watched L/WatchLivestream '{"livestream_id":7}' 'r[-1].snapshotComplete is not None'
expect 'r[0].reset.reason == "RESET_REASON_FRESH" and r[0].reset.livestream.viewerCount == "5"'
expect 'sorted(v.nodeId for m in r if "roster" in m for v in m.roster.viewers) == ["2", "3", "4", "5", "6"]'
revision=$(get 'r[-1].revision')
call L/UpdateViewer '{"livestream_id":7,"node_id":5,"metadata":"MQ=="}'
call L/UpdateViewer '{"livestream_id":7,"node_id":5,"metadata":"Mg=="}'
watched L/WatchLivestream '{"livestream_id":7,"resume_from":{"epoch":'"$epoch"',"revision":'"$revision"'}}' 'len(r) == 2'
expect '[int(m.revision) - '"$revision"' for m in r] == [1, 2] and r[1].batch.events[0].viewerUpdated.viewer.metadata == "Mg=="'
expect '[(m.batch.actorNodeId, m.batch.eventTime is not None) for m in r] == [("5", True), ("5", True)]'
watched L/WatchLivestream '{"livestream_id":7,"resume_from":{"epoch":1,"revision":1}}' 'len(r) >= 1'
expect 'r[0].reset.reason == "RESET_REASON_EPOCH_CHANGED"'
watched L/WatchLivestream '{"livestream_id":7,"resume_from":{"epoch":'"$epoch"',"revision":999999}}' 'len(r) >= 1'
expect 'r[0].reset.reason == "RESET_REASON_UNKNOWN_POSITION"'

# The set: its state by partitions, and from the positions of in_sync only what came since.
watched L/WatchLivestreams '{}' '"inSync" in r[-1]'
expect '{m.livestream.livestreamId for m in r if "livestream" in m} == {"7", "'"$drawn"'", "18446744073709551615"}'
expect '"opened" in r[0] and {p.partition for p in r[0].opened.resets} == {*range(1, r[0].opened.partitions + 1)}'
expect '[p.partition for p in r[-1].inSync.positions] == [*range(1, r[0].opened.partitions + 1)]'
expect 'all((m.partition > 0) == ("livestream" in m) for m in r)'
set_epoch=$(get 'r[0].epoch')
resume=$(get '__import__("json").dumps({"resume_from": {"epoch": r[-1].epoch, "partitions": r[-1].inSync.positions}})')
call L/UpdateLivestream '{"livestream_id":7,"node_id":1,"metadata":"bWV0YTI="}'
revision=$(get 'int(r.revision) - 1')
watched L/WatchLivestreams "$resume" 'any("livestream" in m for m in r)'
expect 'r[0].opened.resets == [] and [m.livestream.metadata for m in r if "livestream" in m] == ["bWV0YTI="]'

watched L/WatchLivestream '{"livestream_id":7,"resume_from":{"epoch":'"$epoch"',"revision":'"$revision"'}}' 'len(r) == 1'
expect '[(e.livestreamUpdated.metadata, e.livestreamUpdated.config.maxLag) for e in r[0].batch.events] == [("bWV0YTI=", "3s")]'

opened targets L/WatchTargets '{"livestream_id":7,"of_node_id":2}'
opened replaced L/WatchTargets '{"livestream_id":7,"node_id":2,"session_id":'"$session_2"',"of_node_id":2}'
call L/JoinLivestream '{"livestream_id":7,"node_id":2,"lease_ttl":"300s"}'
new_2=$(get r.sessionId)
closed replaced REPLACED FAILED_PRECONDITION SESSION_REPLACED
opened removed L/WatchLivestream '{"livestream_id":7,"node_id":2,"session_id":'"$new_2"'}'
call L/RemoveViewer '{"livestream_id":7,"node_id":1,"viewer_node_id":2}'
closed removed REMOVED PERMISSION_DENIED REMOVED
wait "${stream_pid[targets]}" || true
call L/JoinLivestream '{"livestream_id":7,"node_id":2,"lease_ttl":"300s"}'
opened left L/WatchTargets '{"livestream_id":7,"node_id":2,"session_id":'"$(get r.sessionId)"',"of_node_id":2}'
call L/LeaveLivestream '{"livestream_id":7,"node_id":2}'
closed left LEFT OK
call L/TransferBroadcast '{"livestream_id":7,"node_id":1,"viewer_node_id":3}'
expect 'r.livestream.broadcasterNodeId == "3" and r.livestream.broadcasterPresent is True'
call L/TransferBroadcast '{"livestream_id":7,"node_id":3,"viewer_node_id":1}'
expect 'r.livestream.broadcasterNodeId == "1"'
ok 'the broadcast passes on and back'
call L/JoinLivestream '{"livestream_id":7,"node_id":1,"lease_ttl":"300s"}'
session_1=$(get r.sessionId)

echo '--- updates'
call L/PublishUpdates '{"open":{"livestream_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_VISUAL"]}} {"update":{"channel":"UPDATE_CHANNEL_VISUAL","keyframe":true,"payload":"a2V5"}} {"update":{"channel":"UPDATE_CHANNEL_VISUAL","payload":"ZGVsdGE="}}'
answer=$("$judge" first 'any("ack" in m and m.ack.channels[0].acceptedThrough == "2" for m in r)' <<<"$answer") || fail 'the updates were not accepted'
expect 'r[0].opened.epoch == "'"$epoch"'" and r[0].opened.sessionId == "'"$session_1"'"'
expect '(r[0].opened.heartbeatInterval, r[0].opened.subscriberBytesPerSecond, r[0].opened.keyframeInterval) == ("15s", "500000", "2s")'
watched L/SubscribeUpdates '{"livestream_id":7,"node_id":3,"channels":["UPDATE_CHANNEL_VISUAL"]}' 'sum("update" in m for m in flat(r)) == 2'
expect '"subscribed" in flat(r)[0] and [(m.update.payload, m.update.keyframe, m.update.position.sequence) for m in flat(r)[1:]] == [("a2V5", True, "1"), ("ZGVsdGE=", False, "2")]'

expect '(lambda s: (s.heartbeatInterval, s.bytesPerSecond, s.maxLag))(flat(r)[0].subscribed) == ("15s", "500000", "3s")'

# A subscriber that is there already, and one that comes later: to the picture belongs the sound since its keyframe.
opened sound L/SubscribeUpdates '{"livestream_id":7,"node_id":4,"channels":["UPDATE_CHANNEL_AUDIO"]}'
call L/PublishUpdates '{"open":{"livestream_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_AUDIO"]}} {"update":{"channel":"UPDATE_CHANNEL_AUDIO","payload":"b25l"}} {"update":{"channel":"UPDATE_CHANNEL_AUDIO","payload":"dHdv"}}'
call L/PublishUpdate '{"livestream_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_AUDIO","payload":"dGhyZWU="}}'
expect 'r.receipt.position.channel == "UPDATE_CHANNEL_AUDIO" and r.receipt.position.sequence == "3"'
heard sound 'sum("update" in m for m in flat(r)) == 3'
expect '[(m.update.payload, m.update.position.sequence) for m in flat(r) if "update" in m] == [("b25l", "1"), ("dHdv", "2"), ("dGhyZWU=", "3")]'
watched L/SubscribeUpdates '{"livestream_id":7,"node_id":4,"channels":["UPDATE_CHANNEL_VISUAL","UPDATE_CHANNEL_AUDIO"]}' 'sum("update" in m for m in flat(r)) == 5'
expect '[m.update.payload for m in flat(r) if "update" in m and m.update.position.channel == "UPDATE_CHANNEL_AUDIO"] == ["b25l", "dHdv", "dGhyZWU="]'
ok 'AUDIO: by a stream and one by one, delivered at once and later'

# The newest keyframe on DATA is kept for who comes later.
call L/PublishUpdate '{"livestream_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_DATA","payload":"b2xk"}}'
expect 'r.receipt.position.sourceNodeId == "1" and r.receipt.position.channel == "UPDATE_CHANNEL_DATA" and r.receipt.position.sequence == "1"'
expect 'r.receipt.duplicate is False and r.receipt.keyframeWanted is False'
data_term=$(get r.receipt.position.term)
call L/PublishUpdate '{"livestream_id":7,"node_id":1,"term":'"$data_term"',"update":{"channel":"UPDATE_CHANNEL_DATA","keyframe":true,"payload":"c2NvcmU=","publisher_sequence":7}}'
expect 'r.receipt.position.term == "'"$data_term"'" and r.receipt.position.sequence == "2" and r.receipt.duplicate is False'
call L/PublishUpdate '{"livestream_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_DATA","keyframe":true,"payload":"c2NvcmU=","publisher_sequence":7}}'
expect 'r.receipt.duplicate is True'
watched L/SubscribeUpdates '{"livestream_id":7,"node_id":4,"channels":["UPDATE_CHANNEL_DATA"]}' 'any("update" in m for m in flat(r))'
expect '[(m.update.payload, m.update.keyframe, m.update.position.sequence) for m in flat(r) if "update" in m] == [("c2NvcmU=", True, "2")]'
ok 'DATA: receipts, a term, a repeat, late join'

# CHAT starts live; it has one order, in which every message names its author.
opened chat L/SubscribeUpdates '{"livestream_id":7,"node_id":4,"channels":["UPDATE_CHANNEL_CHAT"]}'
call L/PublishUpdate '{"livestream_id":7,"node_id":3,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}'
expect 'r.receipt.position == {"sourceNodeId": "0", "channel": "UPDATE_CHANNEL_CHAT", "term": "0", "sequence": "1", "track": 0} and r.receipt.duplicate is False'
call L/PublishUpdate '{"livestream_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aG8="}}'
expect 'r.receipt.position.sequence == "2"'
heard chat 'sum("update" in m for m in flat(r)) == 2'
expect '[(m.update.authorNodeId, m.update.payload, m.update.position.sequence) for m in flat(r) if "update" in m] == [("3", "aGk=", "1"), ("1", "aG8=", "2")]'
watched L/SubscribeUpdates '{"livestream_id":7,"node_id":5,"channels":["UPDATE_CHANNEL_CHAT"],"resume_from":{"epoch":'"$epoch"',"positions":[{"channel":"UPDATE_CHANNEL_CHAT","sequence":1}]}}' 'any("update" in m for m in flat(r))'
expect '[m.update.payload for m in flat(r) if "update" in m] == ["aG8="] and not any("gap" in m for m in flat(r))'
watched L/SubscribeUpdates '{"livestream_id":7,"node_id":5,"channels":["UPDATE_CHANNEL_VISUAL"],"resume_from":{"epoch":1,"positions":[{"source_node_id":1,"channel":"UPDATE_CHANNEL_VISUAL","term":1,"sequence":1}]}}' 'any("update" in m for m in flat(r))'
expect '[m.gap.reason for m in flat(r) if "gap" in m][0] == "GAP_REASON_EPOCH_CHANGED"'
ok 'CHAT: receipts, delivery, resume'
chatter='{"open":{"livestream_id":7,"node_id":4,"channels":["UPDATE_CHANNEL_CHAT"]}}'
for _ in {1..30}; do
    chatter+=' {"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}'
done
call L/PublishUpdates "$chatter"
answer=$("$judge" first 'any("rejected" in m for m in r)' <<<"$answer") || fail 'no message is over the quota of CHAT'
expect '{m.rejected.reason for m in r if "rejected" in m} == {"REJECT_REASON_RATE_LIMITED"} and any("ack" in m for m in r)'
ok 'CHAT: over quota the stream lives on'

echo '--- a group'
call G/CreateGroup '{"group_id":7,"owner_node_id":1,"config":{"max_participants":3}}'
expect 'r.created is True and r.group.state == "GROUP_STATE_ACTIVE" and r.group.ownerNodeId == "1" and r.group.config.maxParticipants == 3'
group_epoch=$(get r.group.epoch)
call G/JoinGroup '{"group_id":7,"node_id":1,"lease_ttl":"300s","metadata":"b25l"}'
expect 'r.participant.audioEnabled is True and r.participant.videoEnabled is True and r.participant.sharingScreen is False'
call G/JoinGroup '{"group_id":7,"node_id":2,"lease_ttl":"300s"}'
expect 'r.targets.topology == "TOPOLOGY_MESH" and [t.nodeId for t in r.targets.targets] == ["1"]'
expect 'r.group.participantCount == 2 and sorted((p.nodeId, p.metadata) for p in r.participants) == [("1", "b25l"), ("2", "")]'
call G/JoinGroup '{"group_id":7,"node_id":3,"lease_ttl":"300s"}'
group_session=$(get r.sessionId)
call G/SetMedia '{"group_id":7,"node_id":2,"audio_enabled":false}'
expect 'r.participant.audioEnabled is False and r.participant.videoEnabled is True'
call G/StartScreenShare '{"group_id":7,"node_id":2}'
expect 'r.group.screenShareNodeId == "2"'
revision=$(get r.revision)
call G/StartScreenShare '{"group_id":7,"node_id":2}'
expect "r.revision == '$revision'"
call G/ListParticipants '{"group_id":7}'
expect '[(p.nodeId, p.audioEnabled, p.sharingScreen) for p in sorted(r.participants, key=lambda p: p.nodeId)] == [("1", True, False), ("2", False, True), ("3", True, False)]'
call G/GetTargets '{"group_id":7,"of_node_id":2}'
expect 'sorted(t.nodeId for t in r.targets.targets) == ["1", "3"]'
call G/SetInterest '{"group_id":7,"node_id":3,"interests":[{"channel":"UPDATE_CHANNEL_VISUAL","interest":"INTEREST_LOW","source_node_id":2}]}'
call G/GetTargets '{"group_id":7,"of_node_id":2}'
expect '[c.interest for t in r.targets.targets if t.nodeId == "3" for c in t.channels if c.channel == "UPDATE_CHANNEL_VISUAL"] == ["INTEREST_LOW"]'
call G/GetTargets '{"group_id":7,"of_node_id":1}'
expect '[c.interest for t in r.targets.targets if t.nodeId == "3" for c in t.channels if c.channel == "UPDATE_CHANNEL_VISUAL"] == ["INTEREST_HIGH"]'
ok 'create, join, media, screen share, interest per source'
watched G/WatchTargets '{"group_id":7,"of_node_id":1}' 'len(r) >= 1'
expect 'sorted(t.nodeId for t in r[0].snapshot.targets) == ["2", "3"] and r[0].epoch == "'"$group_epoch"'"'
watched G/WatchGroup '{"group_id":7}' 'r[-1].snapshotComplete is not None'
expect 'r[0].reset.group.screenShareNodeId == "2" and sorted(p.nodeId for m in r if "roster" in m for p in m.roster.participants) == ["1", "2", "3"]'
watched G/WatchGroups '{}' '[m.group.groupId for m in r if "group" in m] == ["7"]'
call G/UpdateParticipant '{"group_id":7,"node_id":3,"metadata":"aGk="}'
expect 'r.participant.metadata == "aGk="'
call G/UpdateParticipant '{"group_id":7,"node_id":3,"endpoint":"cGVlcjM="}'
expect 'r.participant.metadata == "aGk=" and r.participant.endpoint == "cGVlcjM="'
call G/GetParticipant '{"group_id":7,"participant_node_id":3}'
expect 'r.participant.endpoint == "" and r.participant.mode == "PARTICIPANT_MODE_ACTIVE" and r.epoch == "'"$group_epoch"'"'
call G/GetParticipant '{"group_id":7,"participant_node_id":3,"view":"MEMBER_VIEW_FULL"}'
expect 'r.participant.endpoint == "cGVlcjM=" and r.participant.leaseTtl == "300s"'
call G/UpdateGroup '{"group_id":7,"node_id":1,"metadata":"aGk="}'
expect 'r.group.metadata == "aGk="'
call G/UpdateGroup '{"group_id":7,"node_id":1,"config":{"max_participants":4}}'
expect 'r.group.metadata == "aGk=" and r.group.config.maxParticipants == 4'
call G/UpdateGroup '{"group_id":7,"node_id":1,"config":{"max_participants":3}}'
call G/RenewLease '{"group_id":7,"node_id":3,"session_id":'"$group_session"'}'
expect 'r.leaseTtl == "300s"'
call G/ReportPeer '{"group_id":7,"node_id":3,"peer_node_id":1,"reason":"PEER_REPORT_REASON_UNREACHABLE"}'
call G/GetGroup '{"group_id":7}'
expect 'r.group.participantCount == 3'
call G/ListGroups '{}'
expect '[g.groupId for g in r.groups] == ["7"]'
call G/ListGroups '{"group_ids":[7],"states":["GROUP_STATE_ENDED"]}'
expect 'r.groups == []'
call G/GetStats '{"group_id":7}'
expect 'r.stats.joins == "3" and r.stats.members == "3" and r.stats.peerReports == "1"'
ok 'watches, metadata, lease, list, stats'

# Participants are as many as may be; a listener has a place beside them, and is nobody's target.
call G/JoinGroup '{"group_id":7,"node_id":9,"mode":"PARTICIPANT_MODE_LISTENER","lease_ttl":"300s"}'
expect 'r.participant.mode == "PARTICIPANT_MODE_LISTENER" and (r.group.participantCount, r.group.listenerCount) == (3, 1)'
expect 'sorted(p.nodeId for p in r.participants) == ["1", "2", "3", "9"] and r.targets.targets == []'
call G/GetTargets '{"group_id":7,"of_node_id":1}'
expect 'sorted(t.nodeId for t in r.targets.targets) == ["2", "3"]'
opened listener G/SubscribeUpdates '{"group_id":7,"node_id":9,"channels":["UPDATE_CHANNEL_CHAT"]}'
call G/PublishUpdate '{"group_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}'
heard listener 'any("update" in m for m in flat(r))'
ok 'a listener hears, and takes no seat'

opened chat G/SubscribeUpdates '{"group_id":7,"node_id":3,"channels":["UPDATE_CHANNEL_CHAT"]}'
call G/PublishUpdate '{"group_id":7,"node_id":2,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}'
expect 'r.receipt.position.sourceNodeId == "2" and r.receipt.position.channel == "UPDATE_CHANNEL_CHAT" and r.receipt.position.sequence == "1"'
heard chat 'any("update" in m for m in flat(r))'
expect '[(m.update.position.sourceNodeId, m.update.payload) for m in flat(r) if "update" in m] == [("2", "aGk=")]'
for node in 1 2; do
    call G/PublishUpdate '{"group_id":7,"node_id":'$node',"update":{"channel":"UPDATE_CHANNEL_DATA","keyframe":true,"payload":"aGk="}}'
done
watched G/SubscribeUpdates '{"group_id":7,"node_id":3,"channels":["UPDATE_CHANNEL_DATA"]}' 'sum("update" in m for m in flat(r)) == 2'
expect '{m.update.position.sourceNodeId for m in flat(r) if "update" in m} == {"1", "2"}'
call G/PublishUpdate '{"group_id":7,"node_id":2,"update":{"channel":"UPDATE_CHANNEL_SCREEN","keyframe":true,"payload":"aGk="}}'
expect 'r.receipt.position.channel == "UPDATE_CHANNEL_SCREEN"'
opened media G/SubscribeUpdates '{"group_id":7,"node_id":3,"channels":["UPDATE_CHANNEL_VISUAL","UPDATE_CHANNEL_AUDIO"],"source_node_ids":[1]}'
call G/PublishUpdates '{"open":{"group_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_VISUAL","UPDATE_CHANNEL_AUDIO"]}} {"update":{"channel":"UPDATE_CHANNEL_VISUAL","keyframe":true,"payload":"aGk="}} {"update":{"channel":"UPDATE_CHANNEL_AUDIO","payload":"aG8="}}'
answer=$("$judge" first '{c.position.channel for m in r if "ack" in m for c in m.ack.channels} == {"UPDATE_CHANNEL_VISUAL", "UPDATE_CHANNEL_AUDIO"}' <<<"$answer") || fail 'the updates were not accepted'
heard media 'sum("update" in m for m in flat(r)) == 2'
expect '{(m.update.position.sourceNodeId, m.update.position.channel[15:], m.update.payload) for m in flat(r) if "update" in m} == {("1", "VISUAL", "aGk="), ("1", "AUDIO", "aG8=")}'
call G/RequestKeyframe '{"group_id":7,"node_id":3,"channel":"UPDATE_CHANNEL_VISUAL","source_node_id":1}'
expect 'r == {}'
call G/PublishUpdate '{"group_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_VISUAL","payload":"aGk="}}'
expect 'r.receipt.keyframeWanted is True'
ok 'updates: every participant is a source; a keyframe is asked for'

echo '--- errors'
# A refused call changes nothing: all that can be seen is the same before and after.
state() {
    local request
    for request in 'L/GetLivestream {"livestream_id":7}' 'L/ListViewers {"livestream_id":7}' \
        'L/GetTargets {"livestream_id":7}' 'L/ListLivestreams {}' 'G/GetGroup {"group_id":7}' \
        'G/ListParticipants {"group_id":7}' 'G/ListGroups {}'; do
        call "${request%% *}" "${request#* }"
        printf '%s\n' "$answer"
    done
    # Time passes in ACTIVE; nothing else may.
    for request in 'L/GetStats {"livestream_id":7}' 'G/GetStats {"group_id":7}'; do
        call "${request%% *}" "${request#* }"
        "$judge" get '{k: v for k, v in r.stats.items() if k != "activeTime"}' <<<"$answer"
    done
}
call L/CreateLivestream '{"livestream_id":8,"node_id":1,"config":{"max_viewers":1}}'
call L/JoinLivestream '{"livestream_id":8,"node_id":2,"lease_ttl":"300s"}'
call L/JoinLivestream '{"livestream_id":8,"node_id":1,"lease_ttl":"300s"}'
call L/PublishUpdates '{"open":{"livestream_id":8,"node_id":1,"channels":["UPDATE_CHANNEL_VISUAL"]}} {"update":{"channel":"UPDATE_CHANNEL_VISUAL","keyframe":true,"payload":"aGk="}}'
answer=$("$judge" first 'any("rejected" in m for m in r)' <<<"$answer") || fail 'VISUAL was accepted before the start'
expect '[m.rejected.reason for m in r if "rejected" in m] == ["REJECT_REASON_WRONG_STATE"]'
call L/MuteViewer '{"livestream_id":7,"node_id":1,"viewer_node_id":5}'
call G/SetMedia '{"group_id":7,"node_id":1,"video_enabled":false}'
call L/CreateLivestream '{"livestream_id":9,"node_id":1}'
call L/EndLivestream '{"livestream_id":9,"node_id":1}'
expect 'r.livestream.state == "LIVESTREAM_STATE_ENDED" and r.livestream.endReason == "END_REASON_REQUESTED"'
call L/EndLivestream '{"livestream_id":9,"node_id":1}'
call G/CreateGroup '{"group_id":9,"owner_node_id":1}'
call G/EndGroup '{"group_id":9,"node_id":1}'
expect 'r.group.state == "GROUP_STATE_ENDED"'
# As many interests as a member may have.
interests() {
    python3 -c 'import json, sys; print(json.dumps([dict(channel=1 + i % 5, interest=2, source_node_id=1 + i // 5) for i in range(*map(int, sys.argv[1:]))]))' "$@"
}
call G/CreateGroup '{"group_id":8,"config":{"max_participants":256}}'
seq 256 | xargs -P 4 -I{} "$GRPCURL" -plaintext -d '{"group_id":8,"node_id":{},"lease_ttl":"300s"}' "$address" \
    starling.group.v1.GroupService/JoinGroup >/dev/null || fail 'not everybody joined'
call G/SetInterest '{"group_id":8,"node_id":1,"interests":'"$(interests 0 1280)"'}'
state >"$scratch/before"

refused L/GetLivestream '{}' INVALID_ARGUMENT INVALID_FIELD livestream_id
refused L/CreateLivestream '{"livestream_id":10}' INVALID_ARGUMENT INVALID_FIELD broadcaster_node_id
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"config":{"tree_fanout":1}}' INVALID_ARGUMENT INVALID_FIELD config.tree_fanout
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"config":{"star_to_tree_threshold":1001}}' INVALID_ARGUMENT INVALID_FIELD config.star_to_tree_threshold
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"config":{"subscriber_bytes_per_second":999}}' INVALID_ARGUMENT INVALID_FIELD config.subscriber_bytes_per_second
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"config":{"keyframe_interval":"0.099s"}}' INVALID_ARGUMENT INVALID_FIELD config.keyframe_interval
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"config":{"max_viewers":0}}' INVALID_ARGUMENT INVALID_FIELD config.max_viewers
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"config":{"broadcaster_timeout":"-1s"}}' INVALID_ARGUMENT INVALID_FIELD config.broadcaster_timeout
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"metadata":"'"$(long 1368)"'"}' INVALID_ARGUMENT INVALID_FIELD metadata
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"request_id":"a b"}' INVALID_ARGUMENT INVALID_FIELD request_id
refused L/CreateLivestream '{"livestream_id":10,"node_id":1,"request_id":"'"$(long 65)"'"}' INVALID_ARGUMENT INVALID_FIELD request_id
refused L/CreateLivestream '{"node_id":1,"request_id":"tour","config":{"tree_fanout":7}}' INVALID_ARGUMENT REQUEST_ID_REUSED request_id
refused L/JoinLivestream '{"livestream_id":7,"node_id":0}' INVALID_ARGUMENT INVALID_FIELD node_id
refused L/JoinLivestream '{"livestream_id":7,"node_id":20,"mode":99}' INVALID_ARGUMENT INVALID_FIELD mode
refused L/JoinLivestream '{"livestream_id":7,"node_id":20,"mode":"VIEWER_MODE_LURKER","can_relay":true}' INVALID_ARGUMENT INVALID_FIELD can_relay
refused L/JoinLivestream '{"livestream_id":7,"node_id":20,"endpoint":"'"$(long 344)"'"}' INVALID_ARGUMENT INVALID_FIELD endpoint
refused L/JoinLivestream '{"livestream_id":7,"node_id":20,"metadata":"'"$(long 344)"'"}' INVALID_ARGUMENT INVALID_FIELD metadata
refused L/JoinLivestream '{"livestream_id":7,"node_id":20,"lease_ttl":"0.5s"}' INVALID_ARGUMENT INVALID_FIELD lease_ttl
refused L/JoinLivestream '{"livestream_id":7,"node_id":20,"lease_ttl":"301s"}' INVALID_ARGUMENT INVALID_FIELD lease_ttl
refused L/JoinLivestream '{"livestream_id":7,"node_id":20,"interests":[{"channel":"UPDATE_CHANNEL_AUDIO"}]}' INVALID_ARGUMENT INVALID_FIELD 'interests[0].interest'
refused L/SetInterest '{"livestream_id":7,"node_id":3,"interests":[{"channel":"UPDATE_CHANNEL_AUDIO","interest":"INTEREST_LOW"},{"interest":"INTEREST_LOW"}]}' INVALID_ARGUMENT INVALID_FIELD 'interests[1].channel'
refused L/SetInterest '{"livestream_id":7,"node_id":3,"interests":[{"channel":77,"interest":"INTEREST_LOW"}]}' INVALID_ARGUMENT INVALID_FIELD 'interests[0].channel'
refused L/SetInterest '{"livestream_id":7,"node_id":3,"interests":[{"channel":"UPDATE_CHANNEL_AUDIO","interest":"INTEREST_LOW","source_node_id":2}]}' INVALID_ARGUMENT INVALID_FIELD 'interests[0].source_node_id'
refused L/SetInterest '{"livestream_id":7,"node_id":3,"interests":[{"channel":"UPDATE_CHANNEL_AUDIO","interest":"INTEREST_LOW","ttl":"86401s"}]}' INVALID_ARGUMENT INVALID_FIELD 'interests[0].ttl'
refused L/SetInterest '{"livestream_id":7,"node_id":3}' INVALID_ARGUMENT INVALID_FIELD interests
refused L/UpdateViewer '{"livestream_id":7,"node_id":3,"metadata":"'"$(long 344)"'"}' INVALID_ARGUMENT INVALID_FIELD metadata
refused L/ListViewers '{"livestream_id":7,"page_size":-1}' INVALID_ARGUMENT INVALID_FIELD page_size
refused L/ListViewers '{"livestream_id":7,"page_token":"none of ours"}' INVALID_ARGUMENT INVALID_FIELD page_token
refused L/MuteViewer '{"livestream_id":7,"node_id":1}' INVALID_ARGUMENT INVALID_FIELD viewer_node_id
refused L/ReportPeer '{"livestream_id":7,"node_id":3,"peer_node_id":4}' INVALID_ARGUMENT INVALID_FIELD reason
refused L/UpdateViewer '{"livestream_id":7,"node_id":3}' INVALID_ARGUMENT INVALID_FIELD metadata
refused L/UpdateViewer '{"livestream_id":7,"node_id":3,"endpoint":"'"$(long 344)"'"}' INVALID_ARGUMENT INVALID_FIELD endpoint
refused L/UpdateLivestream '{"livestream_id":7,"node_id":1}' INVALID_ARGUMENT INVALID_FIELD metadata
refused L/UpdateLivestream '{"livestream_id":7,"node_id":1,"config":{"tree_fanout":3}}' INVALID_ARGUMENT INVALID_FIELD config.tree_fanout
refused L/UpdateLivestream '{"livestream_id":7,"node_id":1,"config":{"max_viewers":0}}' INVALID_ARGUMENT INVALID_FIELD config.max_viewers
refused L/GetViewer '{"livestream_id":7}' INVALID_ARGUMENT INVALID_FIELD viewer_node_id
refused L/GetViewer '{"livestream_id":7,"viewer_node_id":2,"view":99}' INVALID_ARGUMENT INVALID_FIELD view
refused L/ListViewers '{"livestream_id":7,"node_ids":[2],"page_size":5}' INVALID_ARGUMENT INVALID_FIELD page_size
refused L/ListMutedNodes '{"livestream_id":7,"page_token":"none of ours"}' INVALID_ARGUMENT INVALID_FIELD page_token
refused L/WatchTargets '{"livestream_id":7,"of_node_id":3,"session_id":5}' INVALID_ARGUMENT INVALID_FIELD node_id
refused L/WatchLivestream '{"livestream_id":7,"kinds":["LIVESTREAM_EVENT_KIND_INTEREST"]}' INVALID_ARGUMENT INVALID_FIELD kinds
refused L/WatchLivestream '{"livestream_id":7,"kinds":["LIVESTREAM_EVENT_KIND_MEMBERSHIP",0]}' INVALID_ARGUMENT INVALID_FIELD 'kinds[1]'
refused L/WatchLivestream '{"livestream_id":7,"session_id":5}' INVALID_ARGUMENT INVALID_FIELD node_id
refused L/SubscribeUpdates '{"livestream_id":7,"node_id":3,"channels":[99]}' INVALID_ARGUMENT INVALID_FIELD 'channels[0]'
refused L/SubscribeUpdates '{"livestream_id":7,"node_id":3,"start_from":99}' INVALID_ARGUMENT INVALID_FIELD start_from
refused L/PublishUpdates '{"update":{"channel":"UPDATE_CHANNEL_VISUAL"}}' INVALID_ARGUMENT INVALID_FIELD open
refused L/PublishUpdates '{"open":{"livestream_id":7,"node_id":1}}' INVALID_ARGUMENT INVALID_FIELD open.channels
refused L/PublishUpdates '{"open":{"livestream_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_VISUAL"],"temporal_layers":9}}' INVALID_ARGUMENT INVALID_FIELD open.temporal_layers
refused G/GetGroup '{"group_id":0}' INVALID_ARGUMENT INVALID_FIELD group_id
refused G/CreateGroup '{"group_id":10,"config":{"max_participants":257}}' INVALID_ARGUMENT INVALID_FIELD config.max_participants
refused G/JoinGroup '{"group_id":7,"node_id":0}' INVALID_ARGUMENT INVALID_FIELD node_id
refused G/GetTargets '{"group_id":7}' INVALID_ARGUMENT INVALID_FIELD of_node_id
refused G/UpdateGroup '{"group_id":7,"node_id":1}' INVALID_ARGUMENT INVALID_FIELD metadata
refused G/JoinGroup '{"group_id":7,"node_id":4,"mode":99}' INVALID_ARGUMENT INVALID_FIELD mode
refused G/GetParticipant '{"group_id":7}' INVALID_ARGUMENT INVALID_FIELD participant_node_id
refused G/WatchGroups '{"resume_from":{"epoch":'"$set_epoch"',"partitions":[{"partition":1,"position":"AAAA"}]}}' INVALID_ARGUMENT INVALID_FIELD 'resume_from.partitions[0].position'
refused G/WatchGroup '{"group_id":7,"kinds":[99]}' INVALID_ARGUMENT INVALID_FIELD 'kinds[0]'
refused G/ListGroups '{"page_token":"none of ours"}' INVALID_ARGUMENT INVALID_FIELD page_token

refused L/GetLivestream '{"livestream_id":404}' NOT_FOUND LIVESTREAM_NOT_FOUND
refused L/JoinLivestream '{"livestream_id":404,"node_id":1}' NOT_FOUND LIVESTREAM_NOT_FOUND
refused L/WatchTargets '{"livestream_id":404}' NOT_FOUND LIVESTREAM_NOT_FOUND
refused L/SubscribeUpdates '{"livestream_id":404,"node_id":1}' NOT_FOUND LIVESTREAM_NOT_FOUND
refused L/MuteViewer '{"livestream_id":7,"node_id":1,"viewer_node_id":404}' NOT_FOUND MEMBER_NOT_FOUND
refused L/ReportPeer '{"livestream_id":7,"node_id":3,"peer_node_id":404,"reason":1}' NOT_FOUND MEMBER_NOT_FOUND
refused L/GetViewer '{"livestream_id":7,"viewer_node_id":404}' NOT_FOUND MEMBER_NOT_FOUND
refused G/GetGroup '{"group_id":404}' NOT_FOUND GROUP_NOT_FOUND
refused G/GetParticipant '{"group_id":7,"participant_node_id":404}' NOT_FOUND MEMBER_NOT_FOUND
refused G/RemoveParticipant '{"group_id":7,"node_id":1,"participant_node_id":404}' NOT_FOUND MEMBER_NOT_FOUND
refused G/RemoveParticipant '{"group_id":7,"node_id":1,"participant_node_id":1,"ban":"60s"}' FAILED_PRECONDITION TARGET_IS_OWNER
refused L/RemoveViewer '{"livestream_id":7,"node_id":1,"viewer_node_id":404,"ban":"0.5s"}' INVALID_ARGUMENT INVALID_FIELD ban
refused S/RevokeTokens '{"subject_node_id":2}' FAILED_PRECONDITION IDENTITY_OFF
refused S/RevokeTokens '{}' INVALID_ARGUMENT INVALID_FIELD subject_node_id

refused L/CreateLivestream '{"livestream_id":7,"node_id":1}' ALREADY_EXISTS SWARM_EXISTS
refused L/CreateLivestream '{"livestream_id":7,"node_id":2,"config":{"star_to_tree_threshold":3,"tree_fanout":2}}' ALREADY_EXISTS SWARM_EXISTS
refused G/CreateGroup '{"group_id":7,"owner_node_id":1}' ALREADY_EXISTS SWARM_EXISTS

refused L/PauseLivestream '{"livestream_id":8,"node_id":1}' FAILED_PRECONDITION WRONG_STATE
refused L/ResumeLivestream '{"livestream_id":8,"node_id":1}' FAILED_PRECONDITION WRONG_STATE
refused L/StartLivestream '{"livestream_id":9,"node_id":1}' FAILED_PRECONDITION ENDED
refused L/JoinLivestream '{"livestream_id":9,"node_id":2}' FAILED_PRECONDITION ENDED
refused L/GetTargets '{"livestream_id":9}' FAILED_PRECONDITION ENDED
refused L/ListViewers '{"livestream_id":9}' FAILED_PRECONDITION ENDED
refused G/JoinGroup '{"group_id":9,"node_id":2}' FAILED_PRECONDITION ENDED
refused L/LeaveLivestream '{"livestream_id":7,"node_id":20}' FAILED_PRECONDITION NOT_A_MEMBER
refused L/RenewLease '{"livestream_id":7,"node_id":20}' FAILED_PRECONDITION NOT_A_MEMBER
refused L/GetTargets '{"livestream_id":7,"of_node_id":20}' FAILED_PRECONDITION NOT_A_MEMBER
refused L/WatchTargets '{"livestream_id":7,"of_node_id":20}' FAILED_PRECONDITION NOT_A_MEMBER
refused L/SubscribeUpdates '{"livestream_id":7,"node_id":20}' FAILED_PRECONDITION NOT_A_MEMBER
refused L/StartLivestream '{"livestream_id":7,"node_id":20}' FAILED_PRECONDITION NOT_A_MEMBER
refused G/SetMedia '{"group_id":7,"node_id":20,"audio_enabled":false}' FAILED_PRECONDITION NOT_A_MEMBER
refused L/RenewLease '{"livestream_id":7,"node_id":3,"session_id":1}' FAILED_PRECONDITION SESSION_REPLACED
refused L/UpdateViewer '{"livestream_id":7,"node_id":3,"session_id":'"$session_2"',"metadata":""}' FAILED_PRECONDITION SESSION_REPLACED
refused L/WatchTargets '{"livestream_id":7,"node_id":3,"session_id":1,"of_node_id":4}' FAILED_PRECONDITION SESSION_REPLACED
refused G/StartScreenShare '{"group_id":7,"node_id":3,"session_id":1}' FAILED_PRECONDITION SESSION_REPLACED
refused L/JoinLivestream '{"livestream_id":7,"node_id":1,"mode":"VIEWER_MODE_ACTIVE"}' FAILED_PRECONDITION BROADCASTER_CANNOT_VIEW
refused L/MuteViewer '{"livestream_id":7,"node_id":1,"viewer_node_id":1}' FAILED_PRECONDITION TARGET_IS_BROADCASTER
refused L/GetViewer '{"livestream_id":7,"viewer_node_id":1}' FAILED_PRECONDITION TARGET_IS_BROADCASTER
refused L/UpdateViewer '{"livestream_id":7,"node_id":6,"can_relay":true}' FAILED_PRECONDITION LURKER_CANNOT_RELAY
refused L/TransferBroadcast '{"livestream_id":7,"node_id":1,"viewer_node_id":6}' FAILED_PRECONDITION NOT_ACTIVE_VIEWER
refused G/SetMedia '{"group_id":7,"node_id":9,"audio_enabled":true}' FAILED_PRECONDITION ONLY_LISTENS
refused G/StartScreenShare '{"group_id":7,"node_id":9}' FAILED_PRECONDITION ONLY_LISTENS
refused G/PublishUpdate '{"group_id":7,"node_id":9,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}' FAILED_PRECONDITION ONLY_LISTENS
refused G/StartScreenShare '{"group_id":7,"node_id":3}' FAILED_PRECONDITION SCREEN_SHARE_HELD
"$judge" expect '[d.metadata.holderNodeId for d in r.details if "reason" in d] == ["2"]' <"$scratch/status" || fail 'the holder is not named'

refused L/JoinLivestream '{"livestream_id":8,"node_id":3}' RESOURCE_EXHAUSTED SWARM_FULL
refused G/JoinGroup '{"group_id":7,"node_id":4}' RESOURCE_EXHAUSTED SWARM_FULL
refused G/SetInterest '{"group_id":8,"node_id":1,"interests":[{"channel":1,"interest":2,"ttl":"60s"}]}' RESOURCE_EXHAUSTED QUOTA
refused G/SetInterest '{"group_id":8,"node_id":1,"interests":'"$(interests 0 1281)"'}' INVALID_ARGUMENT INVALID_FIELD interests

refused L/PauseLivestream '{"livestream_id":7,"node_id":3}' PERMISSION_DENIED NOT_BROADCASTER
refused L/EndLivestream '{"livestream_id":7,"node_id":3}' PERMISSION_DENIED NOT_BROADCASTER
refused L/AddModerator '{"livestream_id":7,"node_id":3,"viewer_node_id":4}' PERMISSION_DENIED NOT_BROADCASTER
refused L/PublishUpdates '{"open":{"livestream_id":7,"node_id":3,"channels":["UPDATE_CHANNEL_VISUAL"]}}' PERMISSION_DENIED NOT_BROADCASTER
refused L/MuteViewer '{"livestream_id":7,"node_id":3,"viewer_node_id":4}' PERMISSION_DENIED NOT_MODERATOR
refused L/RemoveViewer '{"livestream_id":7,"node_id":3,"viewer_node_id":4}' PERMISSION_DENIED NOT_MODERATOR
refused G/EndGroup '{"group_id":7,"node_id":2}' PERMISSION_DENIED NOT_OWNER
refused G/RemoveParticipant '{"group_id":7,"node_id":2,"participant_node_id":3}' PERMISSION_DENIED NOT_OWNER

refused L/PublishUpdate '{"livestream_id":7,"node_id":1}' INVALID_ARGUMENT INVALID_FIELD update
refused L/PublishUpdate '{"livestream_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_UNSPECIFIED","payload":"aGk="}}' INVALID_ARGUMENT INVALID_FIELD update.channel
refused L/PublishUpdate '{"livestream_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_DATA","payload":"aGk=","track":1}}' INVALID_ARGUMENT INVALID_FIELD update.track
refused L/PublishUpdate '{"livestream_id":7,"node_id":3,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"'"$(long 21848)"'"}}' INVALID_ARGUMENT INVALID_FIELD update.payload
refused L/PublishUpdate '{"livestream_id":404,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_DATA","payload":"aGk="}}' NOT_FOUND LIVESTREAM_NOT_FOUND
refused L/PublishUpdate '{"livestream_id":9,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_DATA","payload":"aGk="}}' FAILED_PRECONDITION ENDED
refused L/PublishUpdate '{"livestream_id":7,"node_id":20,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}' FAILED_PRECONDITION NOT_A_MEMBER
refused L/PublishUpdate '{"livestream_id":7,"node_id":3,"session_id":1,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}' FAILED_PRECONDITION SESSION_REPLACED
refused L/PublishUpdate '{"livestream_id":7,"node_id":3,"update":{"channel":"UPDATE_CHANNEL_VISUAL","payload":"aGk="}}' PERMISSION_DENIED NOT_BROADCASTER
refused L/PublishUpdate '{"livestream_id":7,"node_id":3,"update":{"channel":"UPDATE_CHANNEL_DATA","payload":"aGk="}}' PERMISSION_DENIED NOT_BROADCASTER
refused L/PublishUpdate '{"livestream_id":7,"node_id":1,"term":1,"update":{"channel":"UPDATE_CHANNEL_DATA","payload":"aGk="}}' FAILED_PRECONDITION STALE_TERM
refused L/PublishUpdate '{"livestream_id":7,"node_id":5,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}' FAILED_PRECONDITION MUTED
refused L/PublishUpdate '{"livestream_id":8,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_VISUAL","payload":"aGk="}}' FAILED_PRECONDITION WRONG_STATE
"$judge" expect '[d.metadata.state for d in r.details if "reason" in d] == ["INITIALIZING"]' <"$scratch/status" || fail 'the state is not named'
refused L/RequestKeyframe '{"livestream_id":7,"node_id":3,"channel":"UPDATE_CHANNEL_CHAT"}' INVALID_ARGUMENT INVALID_FIELD channel
refused L/RequestKeyframe '{"livestream_id":7,"node_id":20,"channel":"UPDATE_CHANNEL_VISUAL"}' FAILED_PRECONDITION NOT_A_MEMBER
refused G/PublishUpdate '{"group_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_VISUAL","payload":"aGk="}}' FAILED_PRECONDITION CHANNEL_DISABLED
refused G/PublishUpdate '{"group_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_SCREEN","payload":"aGk="}}' FAILED_PRECONDITION SCREEN_SHARE_HELD
refused G/PublishUpdate '{"group_id":7,"node_id":1,"term":1,"update":{"channel":"UPDATE_CHANNEL_AUDIO","payload":"aGk="}}' FAILED_PRECONDITION STALE_TERM
refused G/PublishUpdate '{"group_id":7,"node_id":20,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}' FAILED_PRECONDITION NOT_A_MEMBER
refused G/PublishUpdate '{"group_id":9,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_CHAT","payload":"aGk="}}' FAILED_PRECONDITION ENDED
refused G/PublishUpdates '{"open":{"group_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_SCREEN"]}}' FAILED_PRECONDITION SCREEN_SHARE_HELD
refused G/SubscribeUpdates '{"group_id":7,"node_id":20}' FAILED_PRECONDITION NOT_A_MEMBER
refused G/RequestKeyframe '{"group_id":7,"node_id":1,"channel":"UPDATE_CHANNEL_CHAT","source_node_id":2}' INVALID_ARGUMENT INVALID_FIELD channel
refused G/RequestKeyframe '{"group_id":7,"node_id":1,"channel":"UPDATE_CHANNEL_VISUAL"}' INVALID_ARGUMENT INVALID_FIELD source_node_id
refused G/RequestKeyframe '{"group_id":7,"node_id":1,"channel":"UPDATE_CHANNEL_VISUAL","source_node_id":404}' NOT_FOUND MEMBER_NOT_FOUND

refused L/UpdateViewer '{"livestream_id":7,"node_id":3,"metadata":"'"$(long 90000)"'"}' RESOURCE_EXHAUSTED MESSAGE_TOO_LARGE
refused L/PublishUpdate '{"livestream_id":7,"node_id":1,"update":{"channel":"UPDATE_CHANNEL_DATA","payload":"'"$(long 2800000)"'"}}' RESOURCE_EXHAUSTED MESSAGE_TOO_LARGE
refused G/UpdateGroup '{"group_id":7,"node_id":1,"metadata":"'"$(long 90000)"'"}' RESOURCE_EXHAUSTED MESSAGE_TOO_LARGE

state >"$scratch/after"
diff -u "$scratch/before" "$scratch/after" >&2 || fail 'refused calls changed something'
ok 'no refused call changed anything'

echo '--- streams that end'
# Claimed anew by a second stream: the first one loses its only channel.
mkfifo "$scratch/publisher"
"$GRPCURL" -plaintext -emit-defaults -format-error -max-time 60 -d @ "$address" "$(full L/PublishUpdates)" \
    <"$scratch/publisher" >"$scratch/stale.out" 2>"$scratch/stale.err" &
stream_pid[stale]=$!
exec 7>"$scratch/publisher"
echo '{"open":{"livestream_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_VISUAL"]}}' >&7
until_true 20 'the publish stream to open' grep -q opened "$scratch/stale.out"
call L/RequestKeyframe '{"livestream_id":7,"node_id":3,"channel":"UPDATE_CHANNEL_VISUAL"}'
until_true 20 'the publisher to be asked for a keyframe' grep -q keyframeRequest "$scratch/stale.out"
call L/PublishUpdates '{"open":{"livestream_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_VISUAL"]}}'
# grpcurl looks at the end of the stream only when it has read all its input.
until_true 20 'the publish stream to lose its channel' grep -q goodbye "$scratch/stale.out"
exec 7>&-
closed stale STALE_TERM FAILED_PRECONDITION STALE_TERM
# Too large for a payload, and small enough for a message.
if curl L/PublishUpdates '{"open":{"livestream_id":7,"node_id":1,"channels":["UPDATE_CHANNEL_VISUAL"]}} {"update":{"channel":"UPDATE_CHANNEL_VISUAL","payload":"'"$(long 1500000)"'"}}' >"$scratch/messages" 2>"$scratch/status"; then
    fail 'a payload of more than 1 MiB was accepted'
fi
"$judge" refusal INVALID_ARGUMENT INVALID_FIELD update.payload <"$scratch/status" || fail 'a payload of more than 1 MiB is refused otherwise'
ok 'INVALID_ARGUMENT INVALID_FIELD of update.payload by PublishUpdates'
opened targets L/WatchTargets '{"livestream_id":7}'
opened events L/WatchLivestream '{"livestream_id":7}'
opened updates L/SubscribeUpdates '{"livestream_id":7,"node_id":3}'
opened group_events G/WatchGroup '{"group_id":7}'
call L/EndLivestream '{"livestream_id":7,"node_id":1}'
call G/EndGroup '{"group_id":7,"node_id":1}'
for name in targets events updates group_events; do
    closed $name ENDED OK
done
call L/GetStats '{"livestream_id":7}'
expect 'int(r.stats.joins) == sum(int(l.count) for l in r.stats.leaves) and r.stats.members == "0"'
ok 'every join has its leave'

echo '--- draining'
streams=()
for index in 1 2 3 4 5 6 7 8; do
    opened "drained$index" L/WatchLivestreams '{}'
    streams+=("drained$index")
done
kill -TERM "$server"
until_true 20 'the server to drain' grep -q draining "$scratch/server.err"
call grpc.health.v1.Health/Check '{}'
expect 'r.status == "NOT_SERVING"'
refused L/GetLivestream '{"livestream_id":8}' UNAVAILABLE DRAINING
refused L/WatchLivestreams '{}' UNAVAILABLE DRAINING
for name in "${streams[@]}"; do
    closed "$name" DRAINING UNAVAILABLE DRAINING
done
server_stops
ok 'SIGTERM: the server exits with 0'

echo '--- the examples of the proto files'
start_server
# everybody: what the examples speak of is there.
everybody() {
    local node
    call L/CreateLivestream '{"livestream_id":7,"node_id":1}'
    call G/CreateGroup '{"group_id":7,"owner_node_id":1}'
    for node in 1 2 3; do
        call L/JoinLivestream '{"livestream_id":7,"node_id":'$node'}'
        call G/JoinGroup '{"group_id":7,"node_id":'$node'}'
    done
}
# Each line ends as if by hand: those that take something away come last, and find everybody there.
example() {
    local method=${1%% *} request=${1#* } name=${1%% *}
    name=${name#*/}
    case $name in
        Watch* | SubscribeUpdates) watched "$method" "$request" 'len(r) >= 1' ;;
        # There are no tokens here.
        RevokeTokens | ListRevocations) refused "$method" "$request" FAILED_PRECONDITION IDENTITY_OFF ;;
        # Nor are there several servers.
        GetClusterStatus | ActivateLevel) refused "$method" "$request" FAILED_PRECONDITION CLUSTER_OFF ;;
        *) call "$method" "$request" && ok "$name" ;;
    esac
}
# Servers call each other as no client does.
for_clients=("$root/proto" -name '*.proto' -not -path '*/peer/*')
mapfile -t examples < <(find "${for_clients[@]}" -print0 | sort -z | xargs -0 sed -nE \
    "s|^  // Example: \`grpcurl -plaintext -d '(.*)' localhost:50051 ([A-Za-z0-9./]+)\`\$|\2 \1|p")
declared=$(find "${for_clients[@]}" -print0 | xargs -0 cat | grep -c '^  rpc ')
[[ ${#examples[@]} -eq $declared ]] || fail "${#examples[@]} examples of $declared calls"
# The CreateX of a file makes another configuration than everybody would.
for line in "${examples[@]}"; do
    [[ $line != */Create* ]] || example "$line"
done
everybody
taking='/(End|Leave|Remove|Transfer|Create)'
for line in "${examples[@]}"; do
    [[ $line =~ $taking ]] || example "$line"
done
for line in "${examples[@]}"; do
    [[ $line =~ $taking && $line != */Create* ]] || continue
    everybody
    example "$line"
done
stop_server
ok "all $declared examples run"

echo '--- a server that is full'
start_server STARLING__STORE__MAX_SWARMS=1
call L/CreateLivestream '{"livestream_id":1,"node_id":1}'
refused L/CreateLivestream '{"livestream_id":2,"node_id":1}' RESOURCE_EXHAUSTED TOO_MANY_SWARMS
refused G/CreateGroup '{"group_id":2}' RESOURCE_EXHAUSTED TOO_MANY_SWARMS
stop_server
ok 'SIGTERM without streams: the server exits with 0'

printf '%s checks passed\n' "$checked"
