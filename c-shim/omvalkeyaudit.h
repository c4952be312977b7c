/* The seam between the C shim and the Rust library. bindgen reads this file, and the Rust side is
 * checked against it at compile time.
 *
 * Ownership
 *   - omvalkeyaudit_action: made by omvalkeyaudit_action_new, shared by its workers, given back once
 *     with omvalkeyaudit_action_free after all of its workers are closed.
 *   - omvalkeyaudit_worker: made by omvalkeyaudit_worker_new, used by one thread at a time, given
 *     back once with omvalkeyaudit_worker_free.
 *   - omvalkeyaudit_values: made by omvalkeyaudit_values_new, given back once with
 *     omvalkeyaudit_values_free.
 *   - Texts that go in are copied; texts that come out live as long as the process, or as the action
 *     that was asked.
 *
 * No function lets a panic out, and none may be cancelled: the library switches the cancellation of
 * the calling thread off for as long as a call lasts.
 */
#ifndef OMVALKEYAUDIT_H
#define OMVALKEYAUDIT_H

#include <stddef.h>
#include <stdint.h>

/* The template that the shim makes for actions that name none: the message part, as it came. */
#define OMVALKEYAUDIT_MESSAGE_TEMPLATE " omvalkeyaudit"

/* What the library calls in the host. */
typedef struct omvalkeyaudit_host {
	/* Writes one line to rsyslog's log. The text is not terminated and is data, never a format;
	 * severity is one of syslog's numbers. */
	void (*log)(int severity, const char *text, size_t length);
} omvalkeyaudit_host;

/* How rsyslog's core has to read a parameter. */
typedef enum omvalkeyaudit_kind {
	OMVALKEYAUDIT_TEXT,
	OMVALKEYAUDIT_LIST
} omvalkeyaudit_kind;

/* The action's queue, as it is configured: where what is in it is when rsyslogd is stopped. */
typedef struct omvalkeyaudit_queue {
	const char *type;	/* queue.type, may be NULL */
	int has_file;		/* whether queue.filename is given */
	int is_saved;		/* queue.saveOnShutdown */
} omvalkeyaudit_queue;

typedef struct omvalkeyaudit_values omvalkeyaudit_values;
typedef struct omvalkeyaudit_action omvalkeyaudit_action;
typedef struct omvalkeyaudit_worker omvalkeyaudit_worker;

/* Remembers the host. To be called once, before anything else. */
void omvalkeyaudit_attach(const omvalkeyaudit_host *host);

/* The parameters an action takes, by number from 0; NULL past the last one. */
const char *omvalkeyaudit_parameter(size_t number, omvalkeyaudit_kind *kind);

/* Collects the values of one action. An array is added element by element. */
omvalkeyaudit_values *omvalkeyaudit_values_new(void);
void omvalkeyaudit_values_add(omvalkeyaudit_values *values, const char *name, const char *value,
	size_t length);
void omvalkeyaudit_values_free(omvalkeyaudit_values *values);

/* Checks the values and makes an action of them; action_name, as it is configured, may
 * be NULL; resume_retry_count and what is in queue are the core's parameters, too. NULL after something
 * was wrong, which is then in the log. */
const omvalkeyaudit_action *omvalkeyaudit_action_new(const char *action_name,
	int64_t resume_retry_count, const omvalkeyaudit_queue *queue,
	const omvalkeyaudit_values *values);
/* The template that makes a text of each record, by number from 0: the record itself, and what else the
 * action wants to know of it. NULL past the last one. */
const char *omvalkeyaudit_action_template(const omvalkeyaudit_action *action, size_t number);
/* rsyslogd was asked to reopen what it has open. May be called while workers are at work. */
void omvalkeyaudit_action_hup(const omvalkeyaudit_action *action);
/* The name for the action's statistics object. */
const char *omvalkeyaudit_action_stats_name(const omvalkeyaudit_action *action);
/* The action's counters, by number from 0: where the count is, its name, and whether it is a level;
 * NULL past the last one. Until the action is given back the count may be read, and set to 0 unless it is
 * a level, at any time. */
uint64_t *omvalkeyaudit_action_counter(const omvalkeyaudit_action *action, size_t number,
	const char **name, int *is_level);
void omvalkeyaudit_action_free(const omvalkeyaudit_action *action);

/* A worker of the action; NULL where the system refuses what it needs. Opens no connection. */
omvalkeyaudit_worker *omvalkeyaudit_worker_new(const omvalkeyaudit_action *action);
void omvalkeyaudit_worker_free(omvalkeyaudit_worker *worker);

/* The transaction interface; each answers with one of rsyslog's return codes. texts has one terminated text
 * for each template of the action, in their order; they stay the core's. */
int omvalkeyaudit_begin_transaction(omvalkeyaudit_worker *worker);
int omvalkeyaudit_do_action(omvalkeyaudit_worker *worker, const char *const *texts);
int omvalkeyaudit_end_transaction(omvalkeyaudit_worker *worker);
int omvalkeyaudit_try_resume(omvalkeyaudit_worker *worker);

#endif
