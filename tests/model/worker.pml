/* The workers and their attempts. */

/* The next call that changes something, by what the attempt knows of the webhook (0: none). */
inline decide() {
  next = 0;
  if
  :: ACTION(j) == CREATE && !sees -> next = POST
  :: ACTION(j) == CREATE && sees && !sees_a -> next = ADD_A
  :: ACTION(j) == DELETE && sees -> next = DEL
  :: ACTION(j) == SET && sees && !sees_b -> next = ADD_B
  :: ACTION(j) == SET && sees && sees_b && j == 1 && !sees_a -> next = ADD_A
  :: ACTION(j) == SET && sees && sees_b && j == 0 && sees_a -> next = DROP_A
  :: ACTION(j) == UPDATE && sees && sees_on != j -> next = PUT
  :: else
  fi
}

/* What an attempt does next, once it knows the webhook. */
inline choose() {
  decide();
  assert(sees || ACTION(j) == CREATE || ACTION(j) == DELETE); /* no job fails */
  if
  :: next -> goto send
  :: !next && is_unknown && !is_settled -> goto settle
  :: else -> goto succeeds
  fi
}

/* Its call, if one is on its way, goes on without it. */
inline leave_call() {
  if
  :: call[w] == SENT && !late_kind -> late_kind = kind[w]; late_job = j; late_astray = astray[w]
  :: else
  fi;
  call[w] = NONE; kind[w] = 0; astray[w] = 0
}

inline end_attempt() {
  is_busy[w] = 0; my_job[w] = 0; fresh[w] = 0; strayed[w] = 0; latest[w] = 0;
#if FAILOVERS > 0
  r_latest[w] = 0;
#endif
  sees = 0; sees_a = 0; sees_b = 0; sees_on = 0; next = 0;
  is_unknown = 0; has_changed = 0; is_settled = 0; j = 0
}

/* The worker is killed and another one starts in its place; or it stops, and hands the job back. */
inline die() { /* step: tasks/lua/hand_back.lua worker/dispatcher.py:Dispatcher._exit_now */
  deaths--; printf("worker %d: dies with job %d\n", w, j); leave_call();
  if
  :: skip
  :: HOLDS(w) -> WRITE; state[j] = RETRY; unknown[j] = 1; place[j] = WAITING
  fi;
  end_attempt(); goto end_idle
}

inline send_bytes() {
  call[w] = SENT; kind[w] = next; is_settled = 0; IS_NOT_STALE(w)
}

active [2] proctype Worker() {
  byte w = _pid - 4, next;
  bit j;
  bit sees, sees_a, sees_b, sees_on;  /* what it knows of the webhook */
  bit is_unknown, has_changed, is_settled;

end_idle:
  atomic { /* step: tasks/lua/claim.lua tasks/lua/chain.lua tasks/create_webhook.py:create_webhook tasks/act.py:act */
    if
    :: queued[0] && IN_TURN(0) -> queued[0]--; TAKE(0)
    :: queued[1] && IN_TURN(1) -> queued[1]--; TAKE(1); j = 1
    fi;
    if
    :: place[j] == PUBLISHED
    :: place[j] == WAITING            /* due, as an earlier message comes late */
    :: place[j] != PUBLISHED -> j = 0; goto end_idle
    fi;
    WRITE;
    if
#ifndef FAULT_CHAIN                   /* planted: the second job does not wait for the first */
    :: j == 1 && UNFINISHED(0) -> place[j] = WAITING; j = 0; goto end_idle
#endif
    :: else
    fi;
    state[j] = STARTED; place[j] = RUNNING; my_job[w] = j; is_busy[w] = 1; latest[w] = 1;
    if
    :: my_job[1 - w] == j -> latest[1 - w] = 0
    :: else
    fi;
    fresh[w] = 1; is_unknown = unknown[j]; CLAIM_WRITTEN;
    printf("worker %d: claims job %d\n", w, j);
#ifdef FAULT_NO_READ_BACK             /* planted: what an earlier attempt may have done is forgotten */
    is_unknown = 0;
#endif
    if
#ifdef WAIT_FIRST
    :: is_unknown -> goto settle
#endif
    :: ACTION(j) == DELETE -> sees = 1; next = DEL; goto send
    :: ACTION(j) == CREATE && !is_unknown -> next = POST; goto send
    :: else
    fi
  }

read:
  atomic { /* step: tasks/existing.py:read_back tasks/add_triggers.py:listed tasks/ensure.py:ensure tasks/change.py:update tasks/exact_triggers.py:set_triggers */
    if
    :: sees = exists; sees_a = has_a; sees_b = has_b; sees_on = is_on;
       printf("worker %d: reads the webhook for job %d\n", w, j); choose()
    :: troubles > 0 -> troubles--; goto put_back
    :: deaths > 0 -> die()
    fi
  }

settle: /* It ends, or with WAIT_FIRST calls, only once an earlier attempt's longest call is over. */
  atomic { /* step: tasks/existing.py:read_back */
    if
#ifdef FAULT_NO_WAIT                  /* planted: it does not wait for what may come late */
    :: is_settled = 1; goto read
#endif
    :: !IN_FLIGHT(w, j) -> is_settled = 1;
#ifdef P_ENDS                         /* no claim is fresh for ever */
       fresh[w] = 0;
#endif
       goto read
    :: deaths > 0 -> die()
    fi
  }

send: /* The fence, as the last thing before the bytes, and the bytes. */
  atomic { /* step: tasks/turn.py:Turn.before_bytes tasks/lua/gate_ask.lua tasks/turn.py:Turn.before_call */
    if
#ifdef FAULT_SECOND_CALL              /* planted: the fence stands before the first call alone */
    :: has_changed
#endif
    :: fresh[w]
    :: !fresh[w] && HOLDS(w)
    :: !fresh[w] && !HOLDS(w) -> /* Superseded */
       printf("worker %d: job %d is not its own any more\n", w, j); end_attempt(); goto end_idle
#if FAILOVERS > 0
    :: fresh[w] && !HOLDS(w) -> fresh[w] = 0; goto send /* time passes before it looks */
#endif
    :: troubles > 0 -> troubles--; goto put_back /* the gate is closed: Held; or no connection */
    :: deaths > 0 -> die()
    fi;
#ifdef FAULT_GATE_LATER               /* planted: it waits for the gate behind the fence */
    goto gate;
#endif
    if
    :: send_bytes(); printf("worker %d: sends call %d of job %d\n", w, next, j); goto answer
    :: windows > 0 -> windows--; printf("worker %d: is frozen before call %d of job %d\n", w, next, j)
    fi
  }
  /* THE WINDOW: the fence has said yes, the bytes are not out yet, and the attempt is frozen. */
  atomic { /* step: tasks/transport.py:Transport */
    astray[w] = !HOLDS(w); strayed[w] = strayed[w] || astray[w]; fresh[w] = HOLDS(w);
    send_bytes(); printf("worker %d: thaws, and sends call %d of job %d\n", w, next, j); goto answer
  }
#ifdef FAULT_GATE_LATER
gate:
  atomic { /* step: tasks/gate.py:Gate.ask */
    send_bytes(); printf("worker %d: sends call %d of job %d\n", w, next, j)
  }
#endif

answer:
  atomic { /* step: tasks/cometchat.py:CometChat */
    if
    :: call[w] == DONE && next == POST -> sees = 1; sees_a = 0; sees_b = 0; has_changed = 1
    :: call[w] == DONE && next == ADD_A -> sees_a = 1; has_changed = 1
    :: call[w] == DONE && next == ADD_B -> sees_b = 1; has_changed = 1
    :: call[w] == DONE && next == DROP_A -> sees_a = 0; has_changed = 1
    :: call[w] == DONE && next == PUT -> sees_on = j; has_changed = 1
    :: (call[w] == DONE || call[w] == MISSING) && next == DEL -> sees = 0; has_changed = 1
    :: call[w] == REJECTED -> leave_call(); next = 0; goto read
    :: call[w] == MISSING && next != DEL -> leave_call(); next = 0; has_changed = 1; goto put_back
    :: call[w] != NONE && troubles > 0 -> /* cut, or its answer is lost: the outcome is unknown */
       troubles--; printf("worker %d: gets no answer\n", w);
       leave_call(); next = 0; has_changed = 1; goto put_back
    :: deaths > 0 -> die()
    fi;
    leave_call(); choose()
  }

succeeds:
  atomic { /* step: tasks/lua/finish.lua tasks/create_webhook.py:succeed tasks/create_webhook.py:stale */
    if
#ifdef FAULT_STALE_REPORT             /* planted: whoever reports is believed */
    :: state[j] == STARTED ->
#else
    :: HOLDS(w) ->
#endif
       IS_SEEN(w); WRITE; state[j] = SUCCESS; place[j] = NOWHERE;
       printf("worker %d: job %d is SUCCESS\n", w, j)
    :: else -> printf("worker %d: its report of job %d is stale\n", w, j)
    fi;
    end_attempt(); goto end_idle
  }

put_back:
  atomic { /* step: tasks/lua/reschedule.lua tasks/create_webhook.py:fail tasks/create_webhook.py:put_back */
    if
    :: HOLDS(w) -> IS_SEEN(w); WRITE; state[j] = RETRY; place[j] = WAITING;
       unknown[j] = unknown[j] || has_changed;
       printf("worker %d: job %d is RETRY\n", w, j)
    :: else -> printf("worker %d: its report of job %d is stale\n", w, j)
    fi;
    end_attempt(); goto end_idle
  }
}
