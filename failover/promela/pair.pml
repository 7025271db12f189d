/*
 * The protocol of the pair, once more: written from its text and not from the Go code, so that a mistake in one of the two
 * shows as a difference. Two nodes, a register, the log between them. There is no clock in it: whatever waits for a time may
 * happen at any time. The invariants are assertions, with their names.
 *
 *	spin -a pair.pml && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m100000
 *
 * -D of spin sets the bounds, and puts bugs in (BUG_…), which must be found.
 */

#ifndef EPOCHS
#define EPOCHS  3	/* masterships, at most */
#endif
#ifndef SEQS
#define SEQS    3	/* records, at most */
#endif
#ifndef REVS
#define REVS    5	/* changes of the register, at most */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef WIPES
#define WIPES   0	/* lost disks */
#endif
#ifndef SLOTS
#define SLOTS   2	/* CAS on their way at a time */
#endif

#ifndef SWITCHOVERS
#define SWITCHOVERS 0
#endif
/*
 * With LEASES a master gives messages to clients by R8 alone, and a standby keeps its promises. There is one beacon at a time. What
 * A3 and the guard give is taken for granted: the lease of a beacon is over before the promise that answered it is.
 */

#define NOBODY  2
#define me(n)   (1 << ((n) + 2 * node[n].life))	/* this node with this journal, in a set */
#define min(a, b) ((a) < (b) -> (a) : (b))

mtype = { down, idle, following, won, leading };
mtype = { role, members, handover };	/* what a CAS is for */
mtype = { none, going, coming, granted };	/* a beacon, its answer, what that grants */
mtype = { no, resting, asked };	/* a switchover */
mtype = { flying, done, lost };

typedef Node {
	/* on the disk */
	byte promised;
	byte life;			/* how many journals were lost */
	byte log[SEQS + 1];		/* epochs, by Seq */
	byte end;
	byte durable;
	/* in memory */
	mtype is;
	byte epoch;			/* of which it is the master, or follows it */
	byte seen;			/* revision of the register */
	bool asks;
	byte must;			/* master: the peer's journals that count, by the last CAS that is done */
	byte doubt;			/* and by those that may be done yet */
	bool near;			/* writes wait for the peer */
	byte join;			/* the end when they began to */
	byte flushed;
	byte commit;
	bool linked;
	mtype drain = no
#ifdef LEASES
	;
	bool promise;			/* not to ask for the role */
	bool unsure			/* a CAS of this process may be done yet */
#endif
};

typedef Value { byte term; byte lead; byte insync; byte by };
typedef Cas { bool used; bool heard; byte by; mtype why; byte expect; Value to; mtype is; byte rev };

Node node[2];
Value reg[REVS + 1];		/* all values: a read may be old */
byte rev;
Cas cas[SLOTS];

/* One connection: records go to the standby, what is flushed comes back. */
byte link_master = NOBODY;
byte link_epoch;
byte sent;
chan records = [1] of { byte };
chan flushes = [1] of { byte };

/* What the assertions remember. */
byte acked[SEQS + 1];		/* epoch of the record */
byte acked_in[SEQS + 1];	/* epoch of the master */
byte begun[EPOCHS + 1];	/* who, + 1 */
byte crashes, wipes, switchovers;
#ifdef LEASES
mtype beacon = none;		/* of the master of link_epoch */
byte beacon_of = NOBODY;
bool fresh;			/* it was sent not long ago */
#endif
byte i, k;
byte list, reach, term;	/* arguments */

inline reset(n)
{
	node[n].epoch = 0; node[n].seen = 0; node[n].asks = false; node[n].must = 0; node[n].doubt = 0;
	node[n].near = false; node[n].join = 0; node[n].flushed = 0; node[n].commit = 0;
	node[n].drain = no
#ifdef LEASES
	;
	node[n].unsure = false;
#ifndef BUG_RESTART
	node[n].promise = true;		/* of the process before */
#else
	node[n].promise = false;
#endif
	if
	:: beacon_of == n -> no_beacon()
	:: else
	fi
#endif
}

#ifdef LEASES
inline no_beacon()
{
	beacon = none; beacon_of = NOBODY; fresh = false
}

#ifdef BUG_LATE
#define leased(n)  (beacon_of == n && beacon == granted)
#else
#define leased(n)  (beacon_of == n && beacon == granted && fresh)
#endif
#define gives(n)   (leads(n) && node[n].drain != asked && (!shared(n) || leased(n)))

/* S10 */
#define s10() assert(!(gives(0) && gives(1)))
#define bound(n)   (node[n].promise)
#else
#define s10() skip
#define bound(n)   false
#endif

/* A connection ends for one side first; the other reads what is on its way. */
inline hang_up(n)
{
	if
	:: node[n].linked ->
		node[n].linked = false;
		if
		:: !node[1 - n].linked -> link_master = NOBODY; link_epoch = 0; sent = 0;
			if
			:: nempty(records) -> records?_
			:: empty(records)
			fi;
			if
			:: nempty(flushes) -> flushes?_
			:: empty(flushes)
			fi
		:: else
		fi
	:: else
	fi
}

inline forget_cas(n)
{
	i = 0;
	do
	:: i < SLOTS ->
		if
		:: cas[i].used && cas[i].by == n && cas[i].heard ->
			cas[i].heard = false;
			if
			:: cas[i].is != flying -> free(i)
			:: else
			fi
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

inline free(x)
{
	cas[x].used = false; cas[x].heard = false; cas[x].by = 0; cas[x].why = 0; cas[x].expect = 0;
	cas[x].to.term = 0; cas[x].to.lead = 0; cas[x].to.insync = 0; cas[x].to.by = 0; cas[x].is = 0; cas[x].rev = 0
}

inline stand_down(n)
{
	hang_up(n);
	forget_cas(n);
	reset(n);
	node[n].is = idle
}

/* S2: whoever is in sync has what was acknowledged. */
inline s2()
{
	k = 0;
	do
	:: k < 2 ->
		if
		:: (reg[rev].insync & me(k)) != 0 ->
			i = 1;
			do
			:: i <= SEQS ->
				assert(acked[i] == 0 || (node[k].log[i] == acked[i] && i <= node[k].durable));
				i++
			:: else -> break
			od
		:: else
		fi;
		k++
	:: else -> break
	od;
	i = 0; k = 0
}

/* S3: a master has what was acknowledged before its epoch. */
inline s3(n)
{
	i = 1;
	do
	:: i <= SEQS ->
		assert(acked[i] == 0 || acked_in[i] >= node[n].epoch || node[n].log[i] == acked[i]);
		i++
	:: else -> break
	od;
	i = 0
}

/* term is the epoch, list who is in sync */
inline ask(who, goal)
{
	if
	:: !cas[0].used -> i = 0
	:: else -> i = 1
	fi;
	cas[i].used = true; cas[i].heard = true; cas[i].by = who; cas[i].why = goal; cas[i].expect = node[who].seen;
	cas[i].to.term = term; cas[i].to.lead = (goal == handover -> 1 - who : who); cas[i].to.insync = list;
	cas[i].to.by = who; cas[i].is = flying;
	node[who].asks = true;
	i = 0; list = 0; term = 0
}

#define slot_free (!cas[0].used || !cas[1].used)

/* R1 */
inline acknowledge(n)
{
	i = node[n].commit + 1;
	do
	:: i <= reach ->
		assert(acked[i] == 0 || acked[i] == node[n].log[i]);			/* S5 */
		if
		:: acked[i] == 0 ->
			acked[i] = node[n].log[i]; acked_in[i] = node[n].epoch;
			k = node[n].epoch + 1;
			do
			:: k <= EPOCHS ->	/* S4 */
				assert(begun[k] == 0 || node[begun[k] - 1].promised < k || node[begun[k] - 1].log[i] == acked[i]);
				k++
			:: else -> break
			od;
			k = 0
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	node[n].commit = reach; reach = 0;
	s2()
}

/* The standby's journal becomes a beginning of the master's: the common epochs, then nothing. */
inline cut(n)
{
	i = 0;
	do
	:: i < SEQS && i < node[n].end && i < node[1 - n].end && node[n].log[i + 1] == node[1 - n].log[i + 1] -> i++
	:: else -> break
	od;
	sent = i;
	i++;
	do
	:: i <= SEQS ->
		assert(acked[i] == 0 || node[n].log[i] != acked[i]);			/* S7 */
		node[n].log[i] = 0;
		i++
	:: else -> break
	od;
	node[n].end = sent; node[n].durable = sent;
	i = 0
}

#define leads(n)   (node[n].is == leading)
#define shared(n)  (node[n].must != 0 || node[n].doubt != 0)
#define waits(n)   (shared(n) || node[n].near)
#define counts(n)  (node[n].linked && ((node[n].must | node[n].doubt) & ~me(1 - n)) == 0)
#define in_step(n) (node[n].linked && node[n].near && node[n].flushed >= node[n].join)
#define knows(n)   (node[n].seen > 0 && !node[n].asks && slot_free)

proctype turns(byte n; byte o)
{
	do
	/* A process begins and ends. */
	:: atomic { node[n].is == down -> node[n].is = idle }
	:: atomic { node[n].is != down && crashes < CRASHES ->
		crashes++;
		hang_up(n); forget_cas(n); reset(n);
		if
		:: true -> node[n].durable = node[n].end	/* what was written survives, or not */
		:: node[n].durable < node[n].end ->
			i = node[n].durable + 1;
			do
			:: i <= node[n].end -> node[n].log[i] = 0; i++
			:: else -> break
			od;
			i = 0;
			node[n].end = node[n].durable
		fi;
		node[n].is = down }
	:: atomic { node[n].is == down && wipes < WIPES ->
		wipes++;
		i = 0;
		do
		:: i <= SEQS -> node[n].log[i] = 0; i++
		:: else -> break
		od;
		i = 0;
		node[n].end = 0; node[n].durable = 0; node[n].promised = 0; node[n].life++ }

	/* The register: a hint, perhaps old. R7: a higher epoch ends a mastership. */
	:: atomic { node[n].is != down && node[n].seen < rev ->
		node[n].seen++;
		do
		:: node[n].seen < rev -> node[n].seen++
		:: break
		od;
#ifdef LEASES
		if
		:: !leads(n) ->
			node[n].unsure = false;		/* something came after it, or it is what has come */
			if
			:: reg[node[n].seen].lead == n && reg[node[n].seen].by == 1 - n -> node[n].promise = false
			:: else
			fi
		:: else
		fi;
#endif
		if
		:: node[n].is == leading && reg[node[n].seen].term > node[n].epoch -> stand_down(n)
		:: node[n].is == following && reg[node[n].seen].term > node[n].epoch -> hang_up(n); node[n].is = idle; node[n].epoch = 0
		:: else
		fi }

	/* R4, R6: takeover, or reclaim by who is the master already. */
	:: atomic { (node[n].is == idle) && knows(n) && (reg[node[n].seen].insync & me(n)) != 0 &&
	      (!bound(n) || (reg[node[n].seen].lead == n && reg[node[n].seen].term == node[n].promised)) &&
	      reg[node[n].seen].term >= node[n].promised && reg[node[n].seen].term < EPOCHS ->
		if
		:: reg[node[n].seen].lead == n -> list = reg[node[n].seen].insync
		:: else -> list = me(n)
		fi;
		term = reg[node[n].seen].term + 1;
		ask(n, role) }
	/* The epoch is on the disk before anything else. */
	:: atomic { node[n].is == won ->
		node[n].promised = node[n].epoch; node[n].is = leading;
		assert(begun[node[n].epoch] == 0);					/* S1 */
		begun[node[n].epoch] = n + 1;
		s3(n); s10() }

	/* The log. */
	:: atomic { leads(n) && node[n].end < SEQS && node[n].drain == no ->
		node[n].end++; node[n].log[node[n].end] = node[n].epoch }
	:: atomic { (node[n].is == leading || node[n].is == following) && node[n].durable < node[n].end ->
		node[n].durable = node[n].end }
	:: atomic { leads(n) && !waits(n) && node[n].commit < node[n].durable ->
		reach = node[n].durable; acknowledge(n) }
	:: atomic { leads(n) && waits(n) && counts(n) && node[n].commit < min(node[n].durable, node[n].flushed) ->
		reach = min(node[n].durable, node[n].flushed); acknowledge(n) }

	/* The connection. R7: who has promised a higher epoch says so. */
	:: atomic { node[n].is == idle && leads(1 - n) && link_master == NOBODY ->
		if
		:: node[n].promised > node[1 - n].epoch -> stand_down(o)
		:: else ->
			node[n].promised = node[1 - n].epoch;
			node[n].epoch = node[1 - n].epoch; node[n].is = following;
			node[n].linked = true; node[1 - n].linked = true;
			link_master = 1 - n; link_epoch = node[n].epoch;
			node[1 - n].flushed = 0; node[1 - n].near = false; node[1 - n].join = 0;
			cut(n);
			s2()
		fi }
	:: atomic { node[n].linked && node[n].is == leading ->	/* it breaks, or the peer is silent */
		hang_up(n); node[n].near = false; node[n].flushed = 0; node[n].join = 0 }
	:: atomic { node[n].linked && node[n].is == following -> hang_up(n); node[n].is = idle; node[n].epoch = 0 }
	:: atomic { link_master == n && node[n].linked && node[1 - n].linked && sent < node[n].end && nfull(records) ->
		sent++; records!node[n].log[sent] }
	:: atomic { link_master == 1 - n && node[n].linked && node[n].is == following && nempty(records) && node[n].end < SEQS ->
		node[n].end++; records?node[n].log[node[n].end] }
	:: atomic { link_master == 1 - n && node[n].linked && node[n].is == following && node[1 - n].linked && nfull(flushes) &&
	      node[n].durable > node[1 - n].flushed -> flushes!node[n].durable }
	:: atomic { link_master == n && node[n].linked && nempty(flushes) -> flushes?node[n].flushed }

	/* R3: writes wait for the peer, it has what was there before, and only then is it listed. */
	:: atomic { leads(n) && node[n].linked && !node[n].near ->
		node[n].near = true;
#ifdef BUG_EARLY_EXPAND
		node[n].join = 0
#else
		node[n].join = node[n].end
#endif
	}
	:: atomic { leads(n) && in_step(n) && knows(n) && node[n].drain == no && (node[n].must != me(1 - n) || node[n].doubt != 0) ->
		if
		:: node[n].must != me(1 - n) -> node[n].doubt = node[n].doubt | me(1 - n)
		:: else
		fi;
		list = me(n) | me(1 - n); term = node[n].epoch;
		ask(n, members) }

	/* R2: alone only once the register says so. */
	:: atomic { leads(n) && shared(n) && !in_step(n) && knows(n) && node[n].drain == no ->
#ifdef BUG_ALONE
		node[n].must = 0; node[n].doubt = 0;
#endif
		list = me(n); term = node[n].epoch;
		ask(n, members) }

	/* Switchover, or an exit that hands over: clients rest, everything is on both, and the register is asked. From then on only a
	   newer CAS goes back. */
	:: atomic { leads(n) && in_step(n) && node[n].drain == no && node[n].must == me(1 - n) && node[n].doubt == 0 &&
	      !node[n].asks && switchovers < SWITCHOVERS ->
		switchovers++; node[n].drain = resting }
	:: atomic { leads(n) && node[n].drain == resting -> node[n].drain = no }
	:: atomic { leads(n) && node[n].drain == resting && in_step(n) && knows(n) && node[n].commit == node[n].end &&
	      node[n].epoch < EPOCHS ->
		node[n].drain = asked;
		if
		:: true -> list = me(n) | me(1 - n)
		:: true -> list = me(1 - n)		/* the process is to exit: nobody is to wait for it */
		fi;
		term = node[n].epoch + 1;
		ask(n, handover) }
	:: atomic { leads(n) && node[n].drain == asked && knows(n) ->
		list = me(n) | node[n].must; term = node[n].epoch;
		ask(n, members) }

#ifdef LEASES
	/* R8. A node with a CAS that may be done yet promises nothing. */
	:: atomic { leads(n) && link_master == n && node[n].linked && (!fresh || beacon != granted) ->
		beacon = going; beacon_of = n; fresh = true }
	:: atomic { beacon == going && beacon_of == 1 - n && node[n].is == following && node[n].linked && link_master == 1 - n &&
#ifndef BUG_PROMISE
	      !node[n].asks && !node[n].unsure &&
#endif
	      true ->
		beacon = coming; node[n].promise = true }
	:: atomic { beacon == coming && beacon_of == n && leads(n) && node[n].linked -> beacon = granted; s10() }
	:: atomic { fresh -> fresh = false }
	:: atomic { node[n].promise && !fresh -> node[n].promise = false }	/* A3 */
	/* R13: that process is dead, or is master no more. */
	:: atomic { node[n].promise && node[n].is == idle && node[1 - n].is != leading -> node[n].promise = false }
#endif
	od
}

proctype register(byte s)
{
	do
	:: atomic { cas[s].used && cas[s].is == flying && cas[s].expect == rev && rev < REVS ->
		rev++;
		reg[rev].term = cas[s].to.term; reg[rev].lead = cas[s].to.lead; reg[rev].insync = cas[s].to.insync; reg[rev].by = cas[s].to.by;
		cas[s].is = done; cas[s].rev = rev;
		if
		:: !cas[s].heard -> free(s)
		:: else
		fi;
		s2() }
	:: atomic { cas[s].used && cas[s].is == flying && cas[s].expect != rev ->
		cas[s].is = lost;
		if
		:: !cas[s].heard -> free(s)
		:: else
		fi }
	:: atomic { cas[s].used && cas[s].is == flying && !cas[s].heard -> free(s) }	/* it never comes */

	/* The answer comes. */
	:: atomic { cas[s].heard && cas[s].is == done ->
		k = cas[s].by;
		node[k].asks = false;
		if
		:: cas[s].rev < node[k].seen || (cas[s].why == role && cas[s].to.term <= node[k].promised)
			/* somebody has come after it, and was heard first */
		:: else ->
			node[k].seen = cas[s].rev;
			if
			:: cas[s].why == role ->
				hang_up(k);
				node[k].is = won; node[k].epoch = cas[s].to.term; node[k].commit = 0; node[k].flushed = 0;
				node[k].near = false; node[k].join = 0
			:: else
			fi;
			if
			:: cas[s].why == handover -> stand_down(k)
			:: else -> node[k].must = cas[s].to.insync & ~me(k); node[k].doubt = 0; node[k].drain = no
			fi
		fi;
		s10();
		free(s); k = 0 }
	:: atomic { cas[s].heard && cas[s].is == lost -> node[cas[s].by].asks = false; free(s) }
	/* Or it does not: the CAS may be done yet (R5). */
	:: atomic { cas[s].heard ->
		k = cas[s].by;
		node[k].asks = false; cas[s].heard = false;
#ifdef LEASES
		node[k].unsure = true;
#endif
#ifdef BUG_FORGET_DOUBT
		node[k].doubt = 0;
#endif
		if
		:: cas[s].is != flying -> free(s)
		:: else
		fi;
		k = 0 }
	od
}

init
{
	/* A pair at work: 0 is master of epoch 1, and 1 is in sync with it. */
	atomic {
		rev = 1; reg[1].term = 1; reg[1].lead = 0; reg[1].insync = 3; begun[1] = 1;
		node[0].is = leading; node[0].epoch = 1; node[0].promised = 1; node[0].seen = 1; node[0].must = 2;
		node[0].linked = true; node[0].near = true;
		node[1].is = following; node[1].epoch = 1; node[1].promised = 1; node[1].seen = 1; node[1].linked = true;
		link_master = 0; link_epoch = 1;
		run turns(0, 1); run turns(1, 0); run register(0); run register(1)
	}
}
