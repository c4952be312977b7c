/* A module around a module: rsyslogd loads this one, which hands everything through to the module that CLOCKED_MODULE
 * names and keeps count and time of its transaction calls in the file CLOCK_FILE, where clock.rs reads them. So the
 * longest call is measured at the seam itself, under full load and without a debug log, for any output module. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RS_RET_ERR (-3000)
#define RS_RET_SUSPENDED (-2007)
#define THREADS 64

typedef int (*entry_point)(void);
typedef int (*worker_call)(void *);
typedef int (*record_call)(void *, void *);
typedef int (*batch_call)(void *, void *, unsigned);
typedef int (*query)(unsigned char *, entry_point *);
typedef int (*init)(int, int *, query *, int (*)(unsigned char *, entry_point *), void *);

/* clock.rs knows these by their place. */
enum call { BEGIN, RECORD, END, COMMIT, RESUME, CALLS };
struct clock {
	uint64_t calls[CALLS];
	uint64_t suspended;
	uint64_t longest_ns;
	/* When the call began that a thread is in now; 0 while it is in none. */
	uint64_t entered_ns[THREADS];
};

static struct clock *clock_file;
static query inner_query;
static worker_call inner_begin, inner_end, inner_resume;
static record_call inner_record;
static batch_call inner_commit;

static uint64_t now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t *slot(void) {
	static uint64_t threads;
	static __thread uint64_t *own;
	if (own == NULL)
		own = &clock_file->entered_ns[__atomic_fetch_add(&threads, 1, __ATOMIC_RELAXED) % THREADS];
	return own;
}

static void enter(void) {
	__atomic_store_n(slot(), now_ns(), __ATOMIC_RELEASE);
}

static int leave(enum call call, int outcome) {
	const uint64_t took = now_ns() - *slot();
	uint64_t longest = __atomic_load_n(&clock_file->longest_ns, __ATOMIC_RELAXED);
	while (took > longest && !__atomic_compare_exchange_n(&clock_file->longest_ns, &longest, took, 0,
			__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	__atomic_fetch_add(&clock_file->calls[call], 1, __ATOMIC_RELAXED);
	if (outcome == RS_RET_SUSPENDED)
		__atomic_fetch_add(&clock_file->suspended, 1, __ATOMIC_RELAXED);
	__atomic_store_n(slot(), 0, __ATOMIC_RELEASE);
	return outcome;
}

static int begin_transaction(void *worker) {
	enter();
	return leave(BEGIN, inner_begin(worker));
}

static int do_action(void *record, void *worker) {
	enter();
	return leave(RECORD, inner_record(record, worker));
}

static int end_transaction(void *worker) {
	enter();
	return leave(END, inner_end(worker));
}

static int commit_transaction(void *worker, void *records, unsigned count) {
	enter();
	return leave(COMMIT, inner_commit(worker, records, count));
}

static int try_resume(void *worker) {
	enter();
	return leave(RESUME, inner_resume(worker));
}

/* Keeps the module's own function and puts ours in its place. */
#define REPLACE(theirs, ours) \
	do { \
		theirs = (__typeof__(theirs))(void *)*found; \
		*found = (entry_point)(void *)ours; \
	} while (0)

static int query_entry_point(unsigned char *name, entry_point *found) {
	const int outcome = inner_query(name, found);
	if (outcome != 0 || found == NULL || *found == NULL)
		return outcome;
	if (!strcmp((char *)name, "beginTransaction"))
		REPLACE(inner_begin, begin_transaction);
	else if (!strcmp((char *)name, "doAction"))
		REPLACE(inner_record, do_action);
	else if (!strcmp((char *)name, "endTransaction"))
		REPLACE(inner_end, end_transaction);
	else if (!strcmp((char *)name, "commitTransaction"))
		REPLACE(inner_commit, commit_transaction);
	else if (!strcmp((char *)name, "tryResume"))
		REPLACE(inner_resume, try_resume);
	return outcome;
}

static int open_clock(void) {
	const char *path = getenv("CLOCK_FILE");
	const int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
	if (file < 0 || ftruncate(file, sizeof(struct clock)) != 0)
		return 0;
	void *memory = mmap(NULL, sizeof(struct clock), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (memory == MAP_FAILED)
		return 0;
	clock_file = memory;
	/* What a killed one was in is over; the sums go on. */
	memset(clock_file->entered_ns, 0, sizeof(clock_file->entered_ns));
	return 1;
}

int modInit(int wanted, int *provided, query *entries, int (*host)(unsigned char *, entry_point *), void *info) {
	const char *path = getenv("CLOCKED_MODULE");
	void *module = path == NULL ? NULL : dlopen(path, RTLD_NOW);
	init inner_init = module == NULL ? NULL : (init)dlsym(module, "modInit");
	if (inner_init == NULL || !open_clock()) {
		fprintf(stderr, "clock: cannot load CLOCKED_MODULE or open CLOCK_FILE: %s\n", dlerror());
		return RS_RET_ERR;
	}
	const int outcome = inner_init(wanted, provided, &inner_query, host, info);
	if (outcome == 0)
		*entries = query_entry_point;
	return outcome;
}
