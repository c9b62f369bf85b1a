/* What is around the workers: the API, who enqueues, the dispatchers. */

/* A request takes effect. */
inline effect(k, j, is_astray, answer) {
  bit changed_it = 0;
  answer = DONE;
  if
  :: k == POST && !exists -> exists = 1; has_a = 0; has_b = 0; is_on = 1; created = (created < 2 -> created + 1 : 2); changed_it = 1
#ifdef TWINS
  :: k == POST && exists -> created = (created < 2 -> created + 1 : 2); changed_it = 1
#else
  :: k == POST && exists -> answer = REJECTED
#endif
  :: k != POST && !exists -> answer = MISSING
  :: k == ADD_A && exists -> changed_it = !has_a; has_a = 1
  :: k == ADD_B && exists -> changed_it = !has_b; has_b = 1
  :: k == DROP_A && exists -> changed_it = has_a; has_a = 0
  :: k == PUT && exists -> changed_it = (is_on != j); is_on = j
  :: k == DEL && exists -> changed_it = 1; exists = 0; has_a = 0; has_b = 0; is_on = 1
  fi;
  if
  :: changed_it ->
     has_strayed = has_strayed || is_astray;
     IS_IN_ORDER(j, EXCUSE(is_astray));
     IS_ONCE
  :: else
  fi;
  changed_it = 0
}

active proctype Api() {
  byte answer;
end:
  do
  :: atomic { /* world: a request takes effect, and is answered */
       call[0] == SENT -> printf("API: call %d of worker 0\n", kind[0]);
       effect(kind[0], my_job[0], astray[0], answer); call[0] = answer; answer = 0
     }
  :: atomic { /* world: a request takes effect, and is answered */
       call[1] == SENT -> printf("API: call %d of worker 1\n", kind[1]);
       effect(kind[1], my_job[1], astray[1], answer); call[1] = answer; answer = 0
     }
  :: atomic { /* world: a request takes effect that nobody waits for any more */
       late_kind -> printf("API: call %d comes late\n", late_kind);
       effect(late_kind, late_job, late_astray, answer);
       late_kind = 0; late_job = 0; late_astray = 0; answer = 0
     }
  :: atomic { /* world: such a request is lost on its way */
       late_kind -> late_kind = 0; late_job = 0; late_astray = 0
     }
  od
}

bit are_added;
active proctype Producer() {
#if FAILOVERS > 0
  atomic { /* step: tasks/lua/add.lua tasks/jobs.py:JobStore.add */
    WRITE; state[0] = PENDING; place[0] = WAITING
  }
#endif
  atomic { /* step: tasks/lua/add.lua tasks/jobs.py:JobStore.add */
    WRITE; state[1] = PENDING; place[1] = WAITING;
#if FAILOVERS == 0
    state[0] = PENDING; place[0] = WAITING;
#endif
    are_added = 1
  }
}

/* A dispatcher in each worker, any number of them: each step is atomic. One process a job, so that
 * spin's fairness, which is by process, holds for both jobs. */
inline publish(j) {
  place[j] = PUBLISHED;
  if
  :: queued[j]++
  :: messages > 0 -> messages-- /* lost */
  :: messages > 0 && queued[j] == 0 -> messages--; queued[j] = 2
  fi
}

active [2] proctype Dispatcher() {
  byte j = _pid - 2;
end:
  do
  :: atomic { /* step: tasks/lua/take_due.lua worker/dispatcher.py:Pipe.tick tasks/pipe.py:publish */
       place[j] == WAITING && queued[j] < 2 ->
       printf("dispatcher: job %d is due, its message is sent\n", j); WRITE; publish(j)
     }
  :: atomic { /* step: tasks/lua/take_due.lua worker/dispatcher.py:Pipe.tick */
       /* The hint has expired: its message was lost. */
       place[j] == PUBLISHED && !queued[j] ->
       printf("dispatcher: job %d is hinted at once more\n", j); WRITE; publish(j)
     }
  :: atomic { /* step: tasks/lua/take_due.lua tasks/lua/moves.lua tasks/lua/renew.lua worker/dispatcher.py:Leases.tick */
       /* The lease is over. It is renewed while the attempt runs, but for a freeze. A claim is
        * fresh for less time than its lease lasts. */
       place[j] == RUNNING && (GONE(j) || freezes > 0) ->
       printf("dispatcher: the lease of job %d is over, it is taken back\n", j);
       if
       :: GONE(j)
       :: else -> freezes--;
#ifndef FAULT_CLOCK  /* planted: an attempt's clock stands still while its machine sleeps */
          if
          :: latest[0] && my_job[0] == j -> fresh[0] = 0
          :: else -> fresh[1] = 0
          fi
#endif
       fi;
       WRITE; state[j] = RETRY; unknown[j] = 1; place[j] = WAITING
     }
  od
}
