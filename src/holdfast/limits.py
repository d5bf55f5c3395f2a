"""Every limit has a name, a unit and a reason, here.

Nothing in this module decides or acts. A limit that an operator may judge is a setting and has its
default here; the others are properties of S3, of the protocols or of this program.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

# --- S3's own limits (Amazon S3 User Guide, "Amazon S3 objects overview", "Multipart upload limits") ---
KEY_BYTES: Final = 1024
"""Longest object key, in bytes of UTF-8."""
BUCKET_NAME_MIN: Final = 3
BUCKET_NAME_MAX: Final = 63
"""Length of a bucket's name, in characters."""
USER_METADATA_BYTES: Final = 2 * KIB
"""User metadata: the sum of the bytes of all names (without `x-amz-meta-`) and values."""
OBJECT_BYTES: Final = 5 * TIB
"""Largest object."""
PUT_BYTES: Final = 5 * GIB
"""Largest body of one PutObject, UploadPart or CopyObject."""
PART_BYTES_MIN: Final = 5 * MIB
"""Smallest part of a multipart upload, the last one excepted."""
PART_NUMBER_MAX: Final = 10_000
LIST_PAGE: Final = 1000
"""Most keys, parts, uploads or deletions in one request or reply."""
BUCKETS_PAGE: Final = 10_000
OBJECT_TAGS: Final = 10
"""Most tags of a version."""
BUCKET_TAGS: Final = 50
"""Most tags of a bucket."""
TAG_KEY_CHARS: Final = 128
TAG_VALUE_CHARS: Final = 256
CORS_RULES: Final = 100
"""Rules in one CORS configuration."""
WEBSITE_BYTES: Final = 128 * KIB
"""A website configuration."""
WEBSITE_RULES: Final = 50
"""Routing rules in one website configuration."""
NOTIFICATION_ROUTES: Final = 100
"""Rules in one notification configuration."""
RULE_ID_CHARS: Final = 255
"""The id of a rule in a bucket's configuration."""
LIFECYCLE_RULES: Final = 1000
"""Rules in one lifecycle configuration."""
NEWER_VERSIONS_MAX: Final = 100
"""Largest NewerNoncurrentVersions."""
PRESIGN_EXPIRY_S: Final = 7 * 24 * 3600
"""Longest validity of a presigned request."""
CLOCK_SKEW_S: Final = 15 * 60
"""A header-signed request whose date is further away is RequestTimeTooSkewed."""

# --- how bodies are kept ---
BLOCK_BYTES: Final = 1 * MIB
"""Unit of verification: one CRC-32C per block; also the largest piece that is ever held in memory for a stream."""
FRAME_BYTES: Final = 64 * KIB
"""Plaintext of one sealed frame: the least that is opened for a range. Written into every sealed copy, so it can never change."""
ENCRYPTION_CONTEXT_BYTES: Final = 8 * KIB
"""Longest encryption context of SSE-KMS, as JSON (AWS KMS, "Encryption context": 8,192 characters)."""
KMS_KEY_ID_BYTES: Final = 2 * KIB
"""Longest name of a KMS key (AWS KMS API Reference, GenerateDataKey)."""
INLINE_BYTES: Final = 64 * KIB
"""A body up to this size is committed inside the index instead of going to a spool file."""
INLINE_KEEP_BYTES: Final = 2 * GIB
"""Default of `cache.inline`: bodies that all grids hold stay in the index as local copies up to this sum."""
SPOOL_BYTES: Final = 64 * GIB
"""Default of `spool.limit`."""
SPOOL_ORPHAN_AGE_S: Final = 3600
"""A spool file that no index row names is removed when it was not written to for this long."""
SPOOL_THREADS: Final = 4
"""Threads that hash arriving bodies and read and write the spool: two bodies at full speed on two cores."""
SPOOL_OPEN_FILES: Final = 64
"""Spool files that one reading body holds open from its beginning."""
READ_AGAIN: Final = 4
"""How often a read begins anew because the object was overwritten under it, before it says 503."""
SPOOL_WAITING: Final = 4096
"""Spool operations that may wait; each holds at most one block."""
SPOOL_FLUSH_BYTES: Final = 8 * MIB
"""Bytes of an arriving body after which what is there begins to be flushed to the disk."""
SPOOL_RESERVE_BYTES: Final = 256 * MIB
"""Free space that the spool leaves on its file system, so that the index can still commit."""

# --- HTTP ---
TARGET_BYTES: Final = 16 * KIB
"""Request target: a 1,024-byte key, three bytes per escaped byte, and a presigned query."""
HEADER_BYTES: Final = 32 * KIB
"""All header lines of one request."""
HEADER_COUNT: Final = 200
XML_BYTES: Final = 2 * MIB
"""An XML body: DeleteObjects of 1,000 keys of 1,024 escaped bytes, or 10,000 parts with checksums."""
FORM_BYTES: Final = 20 * KIB
"""The fields of an upload form in front of its file, and what may follow the file."""
XML_DEPTH: Final = 10
XML_NODES: Final = 100_000
CHUNK_LINE_BYTES: Final = 4 * KIB
"""One `aws-chunked` size line with its signature."""
TRAILER_BYTES: Final = 8 * KIB
"""All trailer lines of one `aws-chunked` body."""
SIGNING_KEYS: Final = 256
"""Derived signing keys that are remembered: one per secret, day and region, four HMACs each."""
PARSED_MEMORY: Final = 2048
"""Parsed Authorization headers, parameters, dates and the like that are remembered, per kind: each is the same for many requests."""
PARSED_CHARS: Final = 2 * KIB
"""What is longer than this is parsed each time instead of being remembered."""
BODY_BUFFER_BYTES: Final = 512 * KIB
"""Received bytes that wait for the store before the socket is paused."""
WRITE_BUFFER_BYTES: Final = 1 * MIB
"""Bytes that wait for a slow client before the response stream is paused."""
CONNECTIONS: Final = 4096
"""Default of `server.connections`, per worker."""
REQUESTS: Final = 512
"""Default of `server.requests`: requests in progress per worker; beyond that 503 SlowDown."""
PIPELINE: Final = 16
"""Requests of one connection that may wait for the one before."""
HEADER_TIMEOUT_S: Final = 20.0
"""From the first byte of a request to the end of its headers."""
IDLE_TIMEOUT_S: Final = 120.0
"""A kept-alive connection without a request."""
BODY_FLOOR_BYTES: Final = 32 * KIB
BODY_FLOOR_S: Final = 20.0
"""A sending or receiving client that moves fewer than BODY_FLOOR_BYTES in BODY_FLOOR_S is dropped."""
GATHER_BYTES: Final = 64 * KIB
"""Received pieces that together are no more than this are handed on as one."""
DISCARD_BYTES: Final = 64 * KIB
"""A body that nobody reads is received to its end, and the connection kept, when no more than this is missing."""
LINGER_BYTES: Final = 16 * MIB
LINGER_S: Final = 5.0
"""After a refusal that did not wait for the body, up to LINGER_BYTES are received and dropped for up to LINGER_S:
closing at once would reset the connection, and the client would lose the reply."""
FRAMING_BYTES: Final = 16 * KIB
FRAMING_RATIO: Final = 8
"""Chunk sizes, extensions and trailers of one body: at most FRAMING_BYTES and FRAMING_RATIO bytes per byte of content."""
SURPLUS_CONNECTIONS: Final = 256
"""Connections beyond `server.connections` that are told 503; those beyond that are cut without an answer."""
SWEEP_S: Final = 1.0
"""Interval at which connections are looked at for being too slow; also the age of the `Date` header."""
BACKLOG: Final = 2048
"""Connections that the kernel keeps for us until they are accepted."""
WORKERS: Final = 64
"""Most worker processes of one server."""
WORKER_RETRY_S: Final = 0.5
"""First pause before a worker that died is started again; doubles to WORKER_RETRY_MAX_S."""
WORKER_RETRY_MAX_S: Final = 15.0
WORKER_TRIES: Final = 4
"""Deaths in a row within WORKER_RETRY_MAX_S of the start, after which the server gives up: it would never serve."""
PATIENCE_S: Final = 10.0
"""A copy or a completed upload that takes longer is answered 200 with a blank per this time, and its outcome in the body:
SDKs give up after 60 s of silence."""
RETRY_AFTER_S: Final = 2
"""What `Retry-After` says on 503."""
DRAIN_S: Final = 30.0
"""Default of `server.drain`: how long a stop waits for requests in progress."""

# --- index ---
COMMIT_BATCH: Final = 128
"""Changes that share one commit (one fsync)."""
COMMIT_GATHER: Final = 8
"""From this many changes on, the next commit waits up to COMMIT_GATHER_S for those that were just answered to come back."""
COMMIT_GATHER_S: Final = 0.005
COMMIT_SLICE: Final = 16
"""Changes applied before the event loop gets its turn again."""
COMMIT_QUEUE: Final = 4096
"""Changes that may wait for a commit; beyond that SlowDown."""
INDEX_LOCK_S: Final = 10.0
"""Longest wait for another process's transaction before a change fails as SlowDown."""
INDEX_BUSY_MS: Final = 2000
"""Longest wait for SQLite's own locks, which are held only while a log is recovered or set up."""
INDEX_PAGE_BYTES: Final = 4 * KIB
"""Page of the index: a commit logs whole pages, so small ones make small changes cheap."""
INDEX_WRITE_CACHE_BYTES: Final = 32 * MIB
"""Pages that the writing connection of a process keeps."""
INDEX_READ_CACHE_BYTES: Final = 8 * MIB
"""Pages that the reading connection of a process keeps: each commit empties it, so it is for the upper pages of the trees."""
INDEX_CHECKPOINT_BYTES: Final = 32 * MIB
"""Size of the write-ahead log at which it is moved into the index: larger ones save writes, and take longer to recover."""
READ_SLICE: Final = 250
"""Rows read before the event loop gets its turn again (about one millisecond)."""

# --- grids ---
GRID_THREADS: Final = 8
"""Threads of one `folder` grid; a hung one stays hung, so they are never shared between grids."""
GRID_QUEUE: Final = 1024
"""Operations that may wait for one grid's threads; beyond that the grid is Unavailable."""
GRID_DEADLINE_S: Final = 3.0
"""Default of `grid.deadline`: time to the answer of a small operation, or to the first byte."""
GRID_FLOOR_BYTES: Final = 320 * KIB
GRID_FLOOR_S: Final = 10.0
"""A grid that moves fewer than GRID_FLOOR_BYTES of a body in GRID_FLOOR_S (32 KiB/s) is silent."""
GRID_CONCURRENCY: Final = 64
"""Operations at once at one grid."""
GRID_WAITING: Final = 256
"""Operations that may wait for one of GRID_CONCURRENCY turns."""
GRID_WAIT_S: Final = 1.0
"""Longest wait for a turn: a grid that is this far behind is slower than another copy."""
GRID_STAGE_BYTES_S: Final = 1 * MIB
"""A body that reaches a grid more slowly than this is given up."""
GRID_COPY_S: Final = 300.0
"""Longest copy inside a grid: its size is not known before, and some move 5 GiB byte by byte."""
GRID_LIST_S: Final = 30.0
"""Longest listing of a page: a folder with a million names is read whole."""
FOLDER_BATCH: Final = 64
"""Changes of a folder grid that share one flush: more would make the first of them wait for the last."""
FOLDER_FLUSH_WHOLE: Final = 4
"""From this many files and directories on, flushing their whole file system costs less than each of them."""
FOLDER_TRIES: Final = 32
"""How often a publication begins anew because its directory was removed at the same moment."""
FOLDER_LEFTOVER_AGE_S: Final = 24 * 3600
"""Staged files that nobody touched for this long belong to a process that died."""

S3_CONNECT_S: Final = 2.0
"""Time to a connection with an S3 grid, its TLS included: who is slower than this is not reached."""
S3_NAMES_S: Final = 1.0
"""Time to an answer of the name service; then the last good address stands in."""
S3_CONNECTIONS: Final = 256
"""Connections to one S3 grid: GRID_CONCURRENCY reads and changes, bodies being read, and parts."""
S3_IDLE_S: Final = 15.0
"""An unused connection is kept this long: servers close theirs after 20 s or more, and a request must not meet that."""
S3_PUT_BYTES: Final = 8 * MIB
"""Up to this size an object is one PutObject when it is published; larger ones are staged as a multipart upload."""
S3_PART_BYTES: Final = 8 * MIB
"""Size of a part, unless the object is so large that there would be too many."""
S3_PART_HELD_BYTES: Final = 16 * MIB
"""Parts up to this size are held in memory while they are sent, several at once and again when one fails; larger ones
(of objects above 150 GiB) are passed through, one after the other."""
S3_PARTS: Final = 4
"""Parts of one upload that are on their way at once."""
S3_HELD_BYTES: Final = 256 * MIB
"""Bytes of bodies that one S3 grid holds in memory at once: parts, and small bodies between stage and publish."""
S3_PART_TRIES: Final = 4
"""How often a part is sent: one failure of many thousand parts must not cost the whole upload. Nobody can see a part, so it may be repeated."""
S3_PART_RETRY_S: Final = 0.2
"""First pause before a part is sent again; doubles, with jitter."""
S3_PART_S: Final = 10.0
"""Time to the answer for a part beside what its bytes may take (GRID_STAGE_BYTES_S)."""
S3_ABORT_S: Final = 1.0
"""How long the end of an upload that failed is waited for; what is left then is swept."""
S3_SWEEP: Final = 20
"""Uploads that a crash left behind which are aborted in one go: the probe waits for it."""
S3_SWEEP_S: Final = 3600.0
"""Interval at which they are looked for; they are as old as FOLDER_LEFTOVER_AGE_S before they are."""
S3_REPLY_BYTES: Final = 8 * MIB
"""Largest XML reply: a listing of 1,000 keys of 3,072 escaped bytes."""
S3_IDENTITY_S: Final = 10.0
"""How old the last look at a grid's identity may be when it says that something is not there."""
S3_EMPTY_S: Final = 10.0
"""How long a known place must look empty until it counts as lost and replaced: then every object is owed to it."""
S3_GATHER_S: Final = 0.005
"""How long a deletion waits for others to share its request, while one is under way: far less than the request takes."""
S3_CHANGE_S: Final = 7.0
"""The same before something is changed there. Longer than the probe's interval, which looks too: it costs a request only when that got no answer."""
S3_FRESH: Final = 64
S3_FRESH_SKEW_S: Final = 5.0
"""A known place without identity that has up to S3_FRESH objects counts as lost, too, when all of them are our own writes since it was
last seen to be ours. The provider's clock may be behind ours by S3_FRESH_SKEW_S."""
S3_FRESH_LANES: Final = 8
"""How many of them are looked at at once."""
S3_COMPOSE: Final = 16
"""Completing an upload may take a vendor as long as moving this fraction of its bytes."""
S3_ALOOF_S: Final = 600.0
"""How long a bucket is not copied from at the provider after that was refused for a reason that lasts: a right that is missing, an
operation that is not offered."""
S3_RELOAD_S: Final = 5.0
"""How often files with credentials are looked at for a change."""
S3_EXPIRY_S: Final = 300.0
"""Credentials that expire are replaced this long before."""
S3_SORT_KEYS: Final = 1_000_000
"""Keys of one bucket that are read and sorted where a vendor lists in an order of its own; beyond that it cannot be listed."""

OBSTORE_PART_MAX_BYTES: Final = 64 * MIB
"""Largest part of an upload to Azure or Google: the library holds parts in memory, so this bounds the largest object."""
OBSTORE_LANES: Final = 4
"""Parts of S3_PART_BYTES that are on their way at once; larger ones go one after the other."""
OBSTORE_HELD_BYTES: Final = 256 * MIB
"""Bytes of bodies that one grid at Azure or Google holds in memory at once: parts, and small bodies between stage and publish."""
OBSTORE_REQUEST_S: Final = 24 * 3600
"""Longest single request to Azure or Google, its body included: the library wants a limit, and the deadlines of ours are far below."""
OBSTORE_PIECE_BYTES: Final = 256 * KIB
"""Bytes of a body that the library gathers before it hands them over."""
OBSTORE_SETTLE_S: Final = 0.2
"""Time that the library's threads get to let go of the last call before the process ends."""
OBSTORE_PLACES: Final = 256
"""Containers or buckets of one grid whose connections are kept."""

# --- read cache ---
CACHE_BYTES: Final = 10 * GIB
"""Default of `cache.size`; never more than what stays free beside it."""
CACHE_AGE_S: Final = 30 * 24 * 3600
"""Default of `cache.age`: a block is forgotten this long after it was brought here, so those of deleted objects are, too."""
CACHE_FILES: Final = 256 * KIB
"""Most blocks in one worker's share: each costs its memory about 400 bytes."""
CACHE_THREADS: Final = 4
"""Threads that read it; a hung disk of its own must not take those of the spool."""
CACHE_WAITING: Final = 1024
"""Reads that may wait for them; what is beyond that comes from a grid."""
CACHE_QUEUE_BYTES: Final = 32 * MIB
"""Blocks that wait to be written; beyond that they are not kept."""
CACHE_DEADLINE_S: Final = 2.0
"""A block that takes longer comes from a grid; when nothing at all came for so long, the cache is off."""
CACHE_RETRY_S: Final = 60.0
"""Pause before a cache that is off is tried again."""
CACHE_LOOK_S: Final = 5.0
"""Interval at which free space is looked at."""
CACHE_AGE_LOOK_S: Final = 3600.0
"""Interval at which blocks that are too old are looked for."""
CACHE_SLICE: Final = 500
"""Blocks that are looked at before the event loop gets its turn again."""
CACHE_WINDOW: Final = 1024
"""Blocks of one read that are looked up at once."""
CACHE_BRIDGE: Final = 2
"""So many cached blocks between two missing ones are fetched with them: one request instead of two."""

# --- health ---
BREAKER_ATTEMPTS: Final = 20
BREAKER_SHARE: Final = 0.5
BREAKER_WINDOW_S: Final = 10
"""At least BREAKER_ATTEMPTS attempts in BREAKER_WINDOW_S, of which BREAKER_SHARE were silent, open a breaker."""
BREAKER_SPREAD: Final = 3
"""Different seconds of that window in which there must have been silences: those of one moment are one fact."""
BREAKER_ROW: Final = 5
"""Silences in a row (over at least BREAKER_ROW_S) that open a breaker."""
BREAKER_ROW_S: Final = 1.0
BREAKER_MUTE_ATTEMPTS: Final = 3
BREAKER_MUTE_S: Final = 5.0
"""At least BREAKER_MUTE_ATTEMPTS attempts and no success for BREAKER_MUTE_S opens a breaker."""
BREAKER_LASTING: Final = 2
"""Faults in a row that will not pass by themselves (credentials, certificate, name, bucket) and open a breaker."""
BREAKER_TRIAL_S: Final = 5.0
"""First pause before a trial; doubles to BREAKER_TRIAL_MAX_S; with 50 % jitter."""
BREAKER_TRIAL_MAX_S: Final = 60.0
MUTE_AT_ONCE: Final = 8
"""Attempts at once at a grid that says nothing and is asked all the same, because no other copy is left or because we suspect
ourselves: enough to notice its return, too few for its deadlines to use up the server's requests."""
RAMP_SHARES: Final = (0.01, 0.05, 0.25)
RAMP_STEP_S: Final = 20.0
"""After re-admission a grid has its ordinary place for these shares of the reads, one after the other for RAMP_STEP_S each."""
BROWNOUT_ATTEMPTS: Final = 200
BROWNOUT_SHARE: Final = 0.02
BROWNOUT_SLOTS: Final = 10
BROWNOUT_SLOT_S: Final = 30.0
"""Of at least BROWNOUT_ATTEMPTS in BROWNOUT_SLOTS times BROWNOUT_SLOT_S (5 minutes), more silences than this share demote."""
BROWNOUT_LOOK_S: Final = 1.0
"""How often a grid is judged, however much it is asked."""
DEMOTED_SHARE: Final = 0.01
"""Of the reads in which a demoted grid has its ordinary place, by way of trial."""
CLEAR_S: Final = 60.0
CLEAR_MAX_S: Final = 600.0
CLEAR_ATTEMPTS: Final = 10
"""A demotion ends after CLEAR_S with at least CLEAR_ATTEMPTS answers and nothing wrong; each relapse doubles it to CLEAR_MAX_S."""
LATENCY_SIZES: Final = (INLINE_BYTES, 256 * KIB, BLOCK_BYTES)
"""Classes of size by which latencies are kept apart: a first block of at most so much. Larger does not exist."""
LATENCY_HALF_LIFE_S: Final = 60.0
"""What was observed this long ago weighs half in the recent latency."""
LATENCY_FEW: Final = 4
"""With less than the weight of this many observations of now, a latency is not known."""
LATENCY_ALIKE_S: Final = 0.01
LATENCY_ALIKE: Final = 2.0
"""Grids whose medians differ by less than LATENCY_ALIKE_S, or this many times, are as fast as each other: price and policy decide."""
BASELINE_HALF_LIFE_S: Final = 12 * 3600.0
"""The same for a grid's usual latency: that of its own day."""
BASELINE_FEW: Final = 100
BASELINE_AGE_S: Final = 600.0
"""A grid that was asked less often, or for a shorter time, has no usual latency yet."""
SLOW_RATIO: Final = 3.0
SLOW_OVER: Final = 2.0
SLOW_FLOOR_S: Final = 0.02
"""More than SLOW_RATIO times its usual median, and SLOW_FLOOR_S more, demotes; below SLOW_OVER times it is well again."""
QUIET_S: Final = 0.25
"""A grid that was asked and has not said anything for this long (or twice its p95) is asked after the others."""
QUIET_KEPT_S: Final = 5.0
"""For how long that is remembered when those who waited were served by another grid."""
SUSPECT_TOGETHER_S: Final = 10.0
"""When all grids fell silent within this time, we suspect ourselves and no breaker opens."""
SUSPECT_MAX_S: Final = 60.0
"""For how long: after that they are what they seem to be."""
HEDGE_MIN_S: Final = 0.05
"""A first block is waited for at least this long before a second copy is asked, too."""
HEDGE_UNKNOWN_S: Final = 0.25
"""The same while the grid's p95 is not known."""
HEDGE_SHARE: Final = 0.05
HEDGE_BURST: Final = 50
"""Second reads that slowness may cost: this share of all, and up to HEDGE_BURST saved for the first moment of an outage."""
HEDGE_RIVAL: Final = 4.0
"""How many times the other grid's p95 a first block is waited for at most: a grid that has become slow does not set its own pace."""
RESCUE_S: Final = 1.0
"""A first block that is this late is asked for at a second grid whatever the budget says: that is a failure more than slowness."""
RESCUES: Final = 32
"""Reads of one process that are rescued so at the same time."""
LATE_ROW: Final = 3
"""So many first blocks in a row that did not come before their hedge was due, and the grid is asked after the others."""
RETRY_SHARE: Final = 0.1
RETRY_BURST: Final = 10
"""Attempts that may be repeated at one grid: this share of all, and up to RETRY_BURST saved."""
RETRY_QUICK_S: Final = 1.0
"""Only a failure that took less than this is worth another attempt: the client waits for both."""
PROBE_S: Final = 5.0
"""Interval of the probe of each grid."""
PROBE_READ_S: Final = 60.0
"""Interval at which it reads a copy, too; while the grid is not trusted to be read, each time."""
PROBE_WRITE_S: Final = 600.0
"""Interval at which it brings a few bytes and takes them back."""
PROBE_ROWS: Final = 16
"""Keys per bucket among which a copy for that is looked for."""
PROBE_BUCKETS: Final = 16
"""Buckets in which it is looked for at once."""
PINS_S: Final = 1.0
"""How soon every worker knows that an operator took a grid in or out of use."""

# --- keepers ---
CLAIM_BATCH: Final = 128
"""Debts claimed by one keeper in one transaction."""
CLAIM_LEAST: Final = 32
"""Small debts that are worth a transaction, however few are paid at once."""
LEASE_S: Final = 60.0
"""A claimed debt belongs to its claimer for this long; renewed while a large body moves."""
CATCHUP_WINDOW: Final = 48
"""Debts of one grid that one process pays at once at most: a quarter of GRID_CONCURRENCY is always left to clients."""
CATCHUP_BEGIN: Final = 8
"""Where that begins, before anything was measured."""
CATCHUP_STRAIN: Final = 3.0
CATCHUP_STRAIN_S: Final = 0.02
"""A grid whose answers take more than CATCHUP_STRAIN times the usual time, and CATCHUP_STRAIN_S, is asked for fewer at once."""
CATCHUP_BACKOFF_S: Final = 0.5
"""Shortest time between two cuts of what is asked at once: what was under way before the first shows in it, too."""
CATCHUP_ROUNDS: Final = 4
"""Debts that are claimed for each that is paid at once: the slowest one holds up a round in so many."""
CATCHUP_LARGE: Final = 4
"""Large bodies of one grid that one process moves at once; each renews its own lease."""
CATCHUP_HOLD_S: Final = LEASE_S / 3
"""A claimed debt that was not begun within this time is given back: its lease must outlive its payment."""
SETTLE_BATCH: Final = 32
"""Payments that are settled together, before the whole batch is done: a crash forgets no more than these."""
CATCHUP_DUTY: Final = 0.25
"""Share of a grid's measured headroom that catch-up takes while clients are busy, and of the time that all lanes together work."""
CATCHUP_REST_MAX_S: Final = 0.25
"""Longest single pause that this share leads to."""
CATCHUP_IDLE_S: Final = 1.0
"""Catch-up looks again after this, even if nobody told it of a debt (another process may have made one)."""
WAITING_AGE_S: Final = 0.1
"""How old the sum of waiting bytes may be that small writes are judged by: other workers can exceed the limit by what arrives in it."""
FREE_SPACE_AGE_S: Final = 1.0
"""How old the look at the file system's free space may be that small writes are judged by."""
CATCHUP_BARRED_S: Final = 0.1
"""Rest after a batch of which nothing was paid; doubles to CATCHUP_IDLE_S: a long queue is not taken and put back in a loop."""
SPOOL_URGENT: Final = 0.5
"""Above this share of the spool's limit catch-up no longer yields to clients."""
ACK_WAIT_S: Final = 10.0
"""How long a write waits for a grid whose debt somebody else is just paying."""
ACK_PATIENCE_S: Final = 1.0
ACK_PATIENCE_BYTES_S: Final = 8 * MIB
"""A write that waits for a grid after its commit longer than ACK_PATIENCE_S, and than its bytes take at this speed, turns to the
next grid of its policy as well: whatever the slower one has by then is given up."""
ACK_POLL_S: Final = 0.02
KEEPER_PAUSE_S: Final = 1.0
"""First pause of a keeper whose step failed; doubles to KEEPER_PAUSE_MAX_S."""
KEEPER_PAUSE_MAX_S: Final = 60.0
PROBE_DOUBT_S: Final = 1.0
"""Shortest time between two probes of a grid that is being doubted."""
RECONCILE_BATCH: Final = 500
"""Keys looked at in one transaction of the policy walk."""
RECONCILE_S: Final = 60.0
"""Interval at which buckets are compared with their policies."""
KEEPER_SWEEP_S: Final = 10.0
"""Interval of the keeper that removes what has expired."""
SWEEP_REST_S: Final = 0.5
"""Shortest time between two rounds of it, however often it is wanted."""
TRIM_BATCH: Final = 256
"""Inline bodies looked at in one transaction of the sweep."""
GC_OBJECTS: Final = 20_000
"""Objects made and not yet gone after which the garbage collector looks for cycles. Requests leave none, so it looks seldom."""
BUCKETS_KNOWN: Final = 10_000
"""Buckets whose settings a process remembers; then it begins anew."""
LIFECYCLE_BATCH: Final = 250
"""Objects, versions or uploads that lifecycle looks at in one step; what is due of them goes in one commit."""
LIFECYCLE_SLICE: Final = 16
"""Of these, how many are compared with up to LIFECYCLE_RULES rules before the event loop gets its turn again."""
LIFECYCLE_PAUSE_S: Final = 0.02
"""Rest between two steps while clients are busy: nothing that expires is urgent."""
LIFECYCLE_ROUNDS: Final = 8
"""How often in a lifecycle day all objects of buckets with rules are looked at. What is due becomes due at midnight, so one would do;
more of them make new rules work sooner, and are what is left when a round is interrupted."""
LIFECYCLE_DAY_S: Final = 24 * 3600
"""Default of `lifecycle.day`."""
JOURNAL_S: Final = 300.0
"""Default of `access_logs.interval`."""
JOURNAL_LOOK_S: Final = 1.0
"""How soon a process knows that a bucket has a log, or has none any more."""
JOURNAL_OBJECT_BYTES: Final = 4 * MIB
"""Lines of one bucket that are delivered at once, whatever the interval."""
JOURNAL_BYTES: Final = 16 * MIB
"""Lines that wait in one process; those beyond are dropped and counted."""
JOURNAL_CLOSE_S: Final = 10.0
"""How long a stop waits until the last lines are delivered."""
NOTICES_WAITING: Final = 100_000
"""Events that may wait for one webhook. A new one that finds as many is dropped, counted and told: that somebody does not listen must
not keep anybody from writing."""
NOTICE_AGE_S: Final = 24 * 3600.0
"""An event that could not be told for so long is given up, with a line that names it: a dead letter."""
NOTICE_BATCH: Final = 64
"""Events of one webhook that are taken up at once, and settled in one commit."""
NOTICES_AT_ONCE: Final = 8
"""Requests at one webhook at once."""
NOTICE_IDLE_S: Final = 1.0
"""A webhook's keeper looks for events after this, even if nobody told it of one (another process may have recorded it)."""
NOTICE_LOOK_S: Final = 10.0
"""Interval at which what waits is counted, and what is too old given up."""
WEBHOOK_S: Final = 10.0
"""Time that a webhook has to answer."""
WEBHOOK_CONNECT_S: Final = 3.0
WEBHOOK_IDLE_S: Final = 15.0
"""An unused connection is kept this long."""
WEBHOOK_REPLY_BYTES: Final = 64 * KIB
"""Of a webhook's answer so much is read, so that the connection can be used again; it means nothing."""
WEBHOOK_RETRY_S: Final = 1.0
"""First pause after a webhook was silent or refused an event; doubles to WEBHOOK_RETRY_MAX_S; with 50 % jitter."""
WEBHOOK_RETRY_MAX_S: Final = 300.0
SCRUB_BATCH: Final = 16
SCRUB_PAUSE_MAX_S: Final = 600.0
"""Longest pause of the scrub, however few objects there are."""
DEBT_RETRY_S: Final = 1.0
"""First pause after a failed payment; doubles to DEBT_RETRY_MAX_S; with jitter."""
DEBT_RETRY_MAX_S: Final = 60.0
AHEAD_BYTES: Final = 8 * MIB
"""A larger body is staged at remote grids while it arrives; for others one request after the commit costs less."""
AHEAD_BODIES: Final = 16
"""Bodies that one process stages at one grid while they arrive: each holds one of GRID_CONCURRENCY turns for as long as its client takes."""
REST_MAX_S: Final = 300.0
"""Longest rest that a grid can ask for with one reply: a mistaken `Retry-After` of days would be an outage of our own making."""
DOUBT_S: Final = 30.0
"""A change whose answer was lost may arrive this much later, ten times what it had to answer; until then nothing that came after it is believed."""
PUT_OFF_MAX_S: Final = 2 * REST_MAX_S
"""No lease, pause or rest goes so far: a debt that is due later was put off by a clock that has been put back since."""
STUCK_ATTEMPTS: Final = 4
"""A debt that was tried so often in vain is stuck, and counted and told as that: no ETA covers it. Part of the index's schema."""
STUCK_TOLD: Final = 5
"""Stuck debts of a grid that `status` names."""
UPLOAD_AGE_S: Final = 7 * 24 * 3600
"""A multipart upload without a new part for this long is swept."""
SCRUB_INTERVAL_S: Final = 30 * 24 * 3600
"""Default of `scrub.interval`: each copy is read back and checked about once in this time."""

# --- telling: log, metrics, status ---
SLOW_REQUEST_S: Final = 5.0
"""Default of `log.slow`: a request that takes longer is worth a line."""
LOG_QUEUE: Final = 4096
"""Lines that may wait for a slow reader of standard error; beyond that lines are dropped and counted."""
LOG_REPEATS: Final = 20
"""Lines of one kind within LOG_REPEATS_S; further ones are counted and told as a sum."""
LOG_REPEATS_S: Final = 10.0
LOG_VALUE_CHARS: Final = 8192
"""Longest value in a line: a traceback, not a body."""
METRICS_S: Final = 2.0
"""How often a worker writes down its counts for the one that is scraped, and looks how catch-up gets on."""
METRICS_STALE_S: Final = 15.0
"""Gauges (not counts) of a worker that wrote nothing for this long are left out: it is gone."""
CATCHUP_LATE_S: Final = 10.0
"""A debt that is older makes a catch-up of what was the normal course of writes, and worth a line."""
CATCHUP_TOLD_S: Final = 60.0
"""Between two lines about how a catch-up gets on."""
PACE_S: Final = 60.0
"""Catch-up's speed, and so the ETA, is that of this last stretch of time."""
READY_S: Final = 1.0
"""An answer about readiness is this old at most; asking more often does not cost more commits."""
READY_DEADLINE_S: Final = 5.0
"""A node whose index does not answer within this time is not ready."""
ADMIN_REQUESTS: Final = 64
"""Requests at once on the admin listener."""

# --- access ---
POLICY_BYTES: Final = 20 * KIB
"""Largest policy document. Amazon S3 User Guide, "Bucket policies"."""
JUDGED_SLICE: Final = 4
"""Keys of a DeleteObjects that are judged before others get a turn: by a large policy each may take a tenth of a second."""
ACL_GRANTS: Final = 100
"""Most grants in an access control list, as in S3."""
KEYS_PER_USER: Final = 8
"""Access keys that one user (or account owner) may have: enough to rotate them without haste."""
IDENTITIES_KNOWN: Final = 4096
"""Identities and sessions that a process remembers; beyond that it begins anew."""
STS_FORM_BYTES: Final = 64 * KIB
"""Largest form of a request for temporary credentials; the session's policy is the larger part."""
SESSION_S_MIN: Final = 900
"""Shortest life of temporary credentials. STS API Reference, AssumeRole."""
SESSION_S: Final = 3600
"""Their life when nobody says how long."""
ROLE_SESSION_S_MAX: Final = 12 * 3600
"""Longest life of a role's session."""
USER_SESSION_S_MAX: Final = 36 * 3600
"""Longest life of a session token of a user; of an account's owner an hour. STS API Reference, GetSessionToken."""
SESSION_POLICY_CHARS: Final = 2048
"""Longest policy of a session. STS API Reference, AssumeRole."""
