/* SPDX-License-Identifier: Apache-2.0 */
/* A record of evidence in words: as text for people, as JSON for programs. */
#include "context/record.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "context/evidence.h"

struct words {
	char *out;
	size_t room, used;
};

static void put(struct words *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void put(struct words *w, const char *format, ...)
{
	bool fits = w->used < w->room;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(fits ? w->out + w->used : NULL,
		      fits ? w->room - w->used : 0, format, ap);
	va_end(ap);
	if (n > 0)
		w->used += (size_t)n;
}

/* A string of JSON. Bytes beyond ASCII become '?': where they come from,
 * nobody says what they are. */
static void put_string(struct words *w, const char *text)
{
	put(w, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			put(w, "\\%c", c);
		else if (c < 0x20)
			put(w, "\\u%04x", c);
		else
			put(w, "%c", c < 0x7f ? c : '?');
	}
	put(w, "\"");
}

static const char *phase_name(uint32_t phase)
{
	static const char *const names[] = { "idle", "running", "answering",
					     "crashed" };

	return names[phase % 4];
}

static const char *recovery_name(uint32_t recovery)
{
	static const char *const names[] = { "default", "off", "once",
					     "budget" };

	return names[recovery % 4];
}

static void put_time(struct words *w, int64_t time_ns)
{
	time_t s = (time_t)(time_ns / 1000000000);
	struct tm tm;
	char text[32];

	if (!gmtime_r(&s, &tm) ||
	    !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm))
		text[0] = '\0';
	put(w, "%s.%06dZ", text, (int)(time_ns % 1000000000 / 1000));
}

static const char *signal_name(int sig)
{
	const char *name = sigabbrev_np(sig);

	return name ? name : "?";
}

/* Nanoseconds that a slot has been in hand; 0: not known. */
static uint64_t age(const struct mk_record *r,
		    const struct mk_record_worker *w)
{
	return w->since_ns && w->since_ns < r->now_ns ?
		       r->now_ns - w->since_ns : 0;
}

/* ---- text --------------------------------------------------------------- */

static void text_worker(struct words *w, const struct mk_record *r, uint32_t i)
{
	const struct mk_record_worker *b = &r->worker[i];
	uint64_t ns = age(r, b);

	put(w, "  worker %u: %s", i, phase_name(b->phase));
	if (b->known) {
		put(w, " %s (opcode %u), ticket %" PRIu64 " of queue %u",
		    b->handler, b->opcode, b->ticket, b->queue);
		if (ns)
			put(w, ", for %" PRIu64 ".%06" PRIu64 " s",
			    ns / 1000000000, ns % 1000000000 / 1000);
		put(w, "\n    user_data 0x%" PRIx64 ", flags 0x%x, args",
		    b->user_data, b->flags);
		for (unsigned k = 0; k < MK_ARG_WORDS; k++)
			put(w, " %08x", b->args[k]);
		if (b->deadline_ns)
			put(w, "\n    deadline %s",
			    b->deadline_ns > r->now_ns ? "not passed" :
							 "passed");
	}
	if (b->fault_signal)
		put(w, "\n    signal %d (SIG%s), code %d, at address 0x%"
		    PRIx64, b->fault_signal, signal_name(b->fault_signal),
		    b->fault_code, b->fault_address);
	put(w, "\n    %" PRIu64 " slots, %" PRIu64 " failed, %" PRIu64
	    " cancelled, %" PRIu64 " sleeps\n",
	    b->slots, b->failed, b->cancelled, b->sleeps);
}

static void text_queue(struct words *w, const struct mk_record_queue *q)
{
	put(w, "  queue %u: %u entries, priority %u, mode %u: head %" PRIu64
	    ", tail %" PRIu64 ", claim %" PRIu64 ", %" PRIu64 " unanswered\n",
	    q->index, q->entries, q->priority, q->mode, q->head, q->tail,
	    q->claim, q->unanswered);
	for (uint32_t i = 0; i < q->logs; i++)
		put(w, "    log: ticket %" PRIu64
		    ", worker %u, format %u, args %u %u %u\n",
		    q->log[i].ticket, q->log[i].worker, q->log[i].format,
		    q->log[i].arg[0], q->log[i].arg[1], q->log[i].arg[2]);
}

size_t mk_record_text(const struct mk_record *r, char *out, size_t room)
{
	struct words w = { out, room, 0 };

	put(&w, "megakernel evidence %" PRIu64 ", ", r->number);
	put_time(&w, r->time_ns);
	put(&w, "\n%s: %s\n  %s, native code %d\n", r->cause, r->why.text,
	    mk_code_name(r->why.code), r->why.native);
	put(&w, "engine %s on %s, isolation %s, worker process %d, recovery "
	    "%s\n", r->engine, r->device,
	    r->isolation == MK_ISOLATION_PROCESS ? "process" : "none", r->pid,
	    recovery_name(r->recovery));
	put(&w, "%" PRIu64 " launches, %" PRIu64 " losses before, %" PRIu64
	    " restarts; hang_ns %" PRIu64 ", grace_ns %" PRIu64 "\n",
	    r->launches, r->losses, r->restarts, r->hang_ns, r->grace_ns);
	for (uint32_t i = 0; i < r->workers; i++)
		text_worker(&w, r, i);
	for (uint32_t i = 0; i < r->queues; i++)
		text_queue(&w, &r->queue[i]);
	if (r->queue_count > r->queues)
		put(&w, "  and %u more queues\n", r->queue_count - r->queues);
	if (r->unwritten)
		put(&w, "not written to evidence_dir: %s\n",
		    mk_strerror(r->unwritten));
	return w.used;
}

/* ---- JSON --------------------------------------------------------------- */

static void json_slot(struct words *w, const struct mk_record *r,
		      const struct mk_record_worker *b)
{
	put(w, ",\"slot\":{\"queue\":%u,\"ticket\":\"%" PRIu64
	    "\",\"opcode\":%u,\"handler\":", b->queue, b->ticket, b->opcode);
	put_string(w, b->handler);
	put(w, ",\"user_data\":\"0x%" PRIx64 "\",\"flags\":%u,\"args\":[",
	    b->user_data, b->flags);
	for (unsigned k = 0; k < MK_ARG_WORDS; k++)
		put(w, "%s%u", k ? "," : "", b->args[k]);
	put(w, "],\"running_ns\":\"%" PRIu64 "\"", age(r, b));
	if (b->deadline_ns)
		put(w, ",\"deadline_ns\":\"%" PRIu64 "\"", b->deadline_ns);
	put(w, "}");
}

static void json_worker(struct words *w, const struct mk_record *r, uint32_t i)
{
	const struct mk_record_worker *b = &r->worker[i];

	put(w, "%s{\"worker\":%u,\"phase\":\"%s\",\"beat\":%u", i ? "," : "",
	    i, phase_name(b->phase), b->beat);
	if (b->known)
		json_slot(w, r, b);
	if (b->fault_signal)
		put(w, ",\"fault\":{\"signal\":%d,\"name\":\"SIG%s\","
		    "\"code\":%d,\"address\":\"0x%" PRIx64 "\"}",
		    b->fault_signal, signal_name(b->fault_signal),
		    b->fault_code, b->fault_address);
	put(w, ",\"slots\":\"%" PRIu64 "\",\"failed\":\"%" PRIu64
	    "\",\"cancelled\":\"%" PRIu64 "\",\"sleeps\":\"%" PRIu64
	    "\",\"wakes\":\"%" PRIu64 "\"}",
	    b->slots, b->failed, b->cancelled, b->sleeps, b->wakes);
}

static void json_queue(struct words *w, const struct mk_record_queue *q,
		       bool first)
{
	put(w, "%s{\"queue\":%u,\"entries\":%u,\"priority\":%u,\"mode\":%u,"
	    "\"head\":\"%" PRIu64 "\",\"tail\":\"%" PRIu64
	    "\",\"claim\":\"%" PRIu64 "\",\"unanswered\":\"%" PRIu64
	    "\",\"log\":[",
	    first ? "" : ",", q->index, q->entries, q->priority, q->mode,
	    q->head, q->tail, q->claim, q->unanswered);
	for (uint32_t i = 0; i < q->logs; i++)
		put(w, "%s{\"ticket\":\"%" PRIu64
		    "\",\"worker\":%u,\"format\":%u,\"args\":[%u,%u,%u]}",
		    i ? "," : "", q->log[i].ticket, q->log[i].worker,
		    q->log[i].format, q->log[i].arg[0], q->log[i].arg[1],
		    q->log[i].arg[2]);
	put(w, "]}");
}

static void json_context(struct words *w, const struct mk_record *r)
{
	put(w, ",\"context\":{\"engine\":");
	put_string(w, r->engine);
	put(w, ",\"device\":");
	put_string(w, r->device);
	put(w, ",\"isolation\":\"%s\",\"worker_pid\":%d,\"recovery\":\"%s\","
	    "\"engine_state\":%u,\"launches\":\"%" PRIu64
	    "\",\"losses\":\"%" PRIu64 "\",\"restarts\":\"%" PRIu64
	    "\",\"hang_ns\":\"%" PRIu64 "\",\"grace_ns\":\"%" PRIu64 "\"}",
	    r->isolation == MK_ISOLATION_PROCESS ? "process" : "none", r->pid,
	    recovery_name(r->recovery), r->state, r->launches, r->losses,
	    r->restarts, r->hang_ns, r->grace_ns);
}

size_t mk_record_json(const struct mk_record *r, char *out, size_t room)
{
	struct words w = { out, room, 0 };

	put(&w, "{\"format\":\"megakernel evidence\",\"version\":%u,"
	    "\"library\":\"%s\",\"abi\":%u,\"fingerprint\":\"0x%08x\","
	    "\"number\":\"%" PRIu64 "\",\"time\":\"", MK_EVIDENCE_VERSION,
	    mk_version(), MK_ABI_VERSION, (unsigned)MK_FINGERPRINT, r->number);
	put_time(&w, r->time_ns);
	put(&w, "\",\"monotonic_ns\":\"%" PRIu64 "\",\"cause\":\"%s\","
	    "\"reason\":{\"code\":\"%s\",\"native\":%d,\"text\":", r->now_ns,
	    r->cause, mk_code_name(r->why.code), r->why.native);
	put_string(&w, r->why.text);
	put(&w, "}");
	json_context(&w, r);
	put(&w, ",\"workers\":[");
	for (uint32_t i = 0; i < r->workers; i++)
		json_worker(&w, r, i);
	put(&w, "],\"queue_count\":%u,\"queues\":[", r->queue_count);
	for (uint32_t i = 0; i < r->queues; i++)
		json_queue(&w, &r->queue[i], !i);
	put(&w, "]");
	if (r->unwritten) {
		put(&w, ",\"unwritten\":");
		put_string(&w, mk_strerror(r->unwritten));
	}
	put(&w, "}\n");
	return w.used;
}
