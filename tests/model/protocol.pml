/* The protocol, for spin to check exhaustively. README.md beside this file says what is left out.
 *
 * Two workers run two jobs of one webhook against one API. A process that spin does not schedule
 * is frozen, and one that it schedules again has thawed: freezing needs no code of its own.
 *
 * `step:` names the Lua file or Python function that a transition stands for. `world:` marks what
 * happens around the program. tests/unit/test_protocol_model.py checks both.
 *
 * Flags (-D), besides the numbers below:
 *   CASE=1..4          which two jobs, see "The two jobs"
 *   P_STALE, P_ORDER, P_TWICE, P_REPORT, P_RESULT   the claim to check, one or more
 *   EXCUSED            a call in the window may be out of order, and the webhook not as asked behind it
 *   TWINS              the API makes a second webhook where it should refuse an id that exists
 *   WAIT_FIRST         a job with an unknown outcome waits before its calls, not behind them
 *   FAILOVERS=1        Redis fails over and loses its last write
 *   SURE_CLAIM         ... unless that was a claim
 *   SLOW_FAILOVER      ... and no claim is fresh when it is over
 *   FAULT_*            a fault planted in the protocol, each described where it is
 */

/* How often each kind of trouble may come. */
#ifndef WINDOWS
#define WINDOWS 0    /* freezes between the fence's answer and the bytes */
#endif
#ifndef FREEZES
#define FREEZES 1    /* leases that end although the attempt is alive */
#endif
#ifndef DEATHS
#define DEATHS 1     /* workers killed, or stopped in the middle of an attempt */
#endif
#ifndef TROUBLES
#define TROUBLES 1   /* calls without an answer, refused connections, closed gates */
#endif
#ifndef MESSAGES
#define MESSAGES 1   /* messages lost or doubled */
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif

/* What a job asks for, and the calls that change something. */
#define CREATE 1     /* the webhook with trigger a: two calls */
#define DELETE 2
#define SET    3     /* the triggers: {b} for job 0, {a, b} for job 1 */
#define UPDATE 4     /* `enabled`: off for job 0, on for job 1 */
#define POST   1
#define ADD_A  2
#define ADD_B  3
#define DROP_A 4
#define PUT    5
#define DEL    6

/* The two jobs. */
#ifndef CASE
#define CASE 1
#endif
#if CASE == 1
#define ACTION(j) (j == 0 -> CREATE : DELETE)
#define AT_FIRST  0
#define AS_ASKED  (!exists)
#elif CASE == 2
#define ACTION(j) SET
#define AT_FIRST  1
#define AS_ASKED  (exists && has_a && has_b)
#elif CASE == 3
#define ACTION(j) UPDATE
#define AT_FIRST  1
#define AS_ASKED  (exists && is_on)
#else
#define ACTION(j) (j == 0 -> DELETE : CREATE)
#define AT_FIRST  1
#define AS_ASKED  (exists && has_a)
#endif

/* The records in Redis. `latest[w]` says that the record's attempt and token are those of worker w's
 * attempt: whether a later claim replaced them is all that any step asks of them. */
#define ABSENT  0
#define PENDING 1
#define STARTED 2
#define RETRY   3
#define SUCCESS 4   /* the only end of these jobs: the API refuses nothing but an id that exists */
#define NOWHERE   0
#define WAITING   1
#define PUBLISHED 2
#define RUNNING   3
byte state[2], place[2];
bit unknown[2], latest[2];

#define ENDED(j)      (state[j] == SUCCESS)
#define UNFINISHED(j) (state[j] == PENDING || state[j] == STARTED || state[j] == RETRY)

/* What the replica has: everything but the last write. */
#if FAILOVERS > 0
byte r_state[2], r_place[2];
bit r_unknown[2], r_latest[2];
#define COPY(j) r_state[j] = state[j]; r_place[j] = place[j]; \
    r_unknown[j] = unknown[j]; r_latest[j] = latest[j]
#define WRITE COPY(0); COPY(1)
#ifdef SURE_CLAIM
#define CLAIM_WRITTEN WRITE
#else
#define CLAIM_WRITTEN skip
#endif
byte failovers = FAILOVERS;
#else
#define WRITE skip
#define CLAIM_WRITTEN skip
#endif

/* The workers: whether each has an attempt, at which job, and whether its claim is fresh. */
bit is_busy[2], my_job[2], fresh[2];
bit strayed[2];      /* it made a call in the window */
#define HOLDS(w)   (latest[w] && state[my_job[w]] == STARTED)
/* No worker runs the job's latest attempt: that ended, or died with its worker. */
#define GONE(j)    !((latest[0] && my_job[0] == j) || (latest[1] && my_job[1] == j))

/* Messages in the queue or in a worker's prefetch, by job. */
byte queued[2];
#ifdef P_ENDS        /* the queue is first in, first out: no job's message waits behind the other's for ever */
bit taken_last;
#define IN_TURN(j) (taken_last != j || !queued[1 - j])
#define TAKE(j) taken_last = j
#else                /* in any order */
#define IN_TURN(j) 1
#define TAKE(j) skip
#endif

/* The webhook at CometChat. */
bit exists = AT_FIRST, has_a = AT_FIRST, has_b, is_on = 1;

/* A call on its way, by worker, and one that nobody waits for any more. */
#define NONE     0
#define SENT     1
#define DONE     2
#define REJECTED 3   /* the id exists already */
#define MISSING  4   /* there is no such webhook */
byte call[2], kind[2];
bit astray[2];       /* its bytes went out in the window, after the attempt had lost its job */
byte late_kind;
bit late_job, late_astray;
/* Whether a call of an earlier attempt can still have its effect, within the longest call. */
#define IN_FLIGHT(w, j) ((late_kind && late_job == j && !late_astray) \
    || (call[1 - w] == SENT && my_job[1 - w] == j && !astray[1 - w]))

byte freezes = FREEZES, deaths = DEATHS, troubles = TROUBLES, messages = MESSAGES, windows = WINDOWS;

/* What the claims are about. */
byte created;        /* webhooks made, counted to two */
bit has_strayed;     /* a call in the window had an effect */
#ifdef EXCUSED
#define EXCUSE(what) what
#else
#define EXCUSE(what) 0
#endif
#ifdef P_STALE       /* an attempt that lost its job sends nothing, but for the window */
#define IS_NOT_STALE(w) assert(HOLDS(w) || astray[w])
#else
#define IS_NOT_STALE(w) skip
#endif
#ifdef P_ORDER       /* no effect before the job in front has ended, none after its own end */
#define IS_IN_ORDER(j, is_excused) assert(!(ENDED(j) || (j == 1 && UNFINISHED(0))) || is_excused)
#else
#define IS_IN_ORDER(j, is_excused) skip
#endif
#ifdef P_TWICE       /* the webhook is made once */
#define IS_ONCE assert(created <= 1 || EXCUSE(has_strayed))
#else
#define IS_ONCE skip
#endif
#ifdef P_REPORT      /* an attempt with a call in the window sees that it is stale */
#define IS_SEEN(w) assert(!strayed[w])
#else
#define IS_SEEN(w) skip
#endif

#include "world.pml"
#include "worker.pml"

#if FAILOVERS > 0
#define BACK(j) state[j] = r_state[j]; place[j] = r_place[j]; \
    unknown[j] = r_unknown[j]; latest[j] = r_latest[j]
active proctype Failover() {
end:
  do
  :: atomic { /* world: Redis fails over to a replica that lacks the last write */
       failovers > 0 -> failovers--; printf("Redis: fails over, and loses its last write\n");
       BACK(0); BACK(1);
#ifdef SLOW_FAILOVER
       fresh[0] = 0; fresh[1] = 0
#endif
     }
  od
}
#endif

#ifdef P_RESULT      /* in the end the webhook is as the last job asked */
active proctype Judge() {
end:
  do
  :: atomic { /* world: everything has come to rest */
       ENDED(0) && ENDED(1) && !is_busy[0] && !is_busy[1] && !late_kind ->
       assert(AS_ASKED || EXCUSE(has_strayed))
     }
  od
}
#endif

#ifdef P_ENDS        /* every job that was accepted ends; a lost add was never accepted */
#define OVER(j) (ENDED(j) || state[j] == ABSENT)
ltl ends { <>[] (OVER(0) && OVER(1) && are_added) }
#endif
