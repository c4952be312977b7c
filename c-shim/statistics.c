/* statistics.c
 * An action's statistics object, on whatever core the module runs on. Which counters there are is
 * the library's table; their values are in the library's memory, where impstats reads them.
 *
 * Licensed under the Apache License, Version 2.0; see LICENSE.
 *
 * Concurrency & Locking
 *   - The interface is looked up in modInit and read-only from then on.
 *   - Objects are made and destroyed on the main thread. impstats reads the counters, and may set
 *     them to 0, on a thread of its own: the library writes them atomically.
 */
#include "config.h"
#include <string.h>
#include "rsyslog.h"
#include "errmsg.h"
#include "statistics.h"

/* The interface's version differs between cores, and with it the place of AddCounter. What stands
 * before GetAllStatsLines has its place, and AddCounter its signature, in all of these versions. */
static const struct {
	int version;
	int addCounter;
} layouts[] = { { 13, 10 }, { 14, 11 }, { 15, 11 }, { 16, 12 }, { 17, 13 } };

/* more than any version has */
#define MAX_METHODS 64

static union {
	statsobj_if_t common;
	struct {
		ifBEGIN
		void (*methods[MAX_METHODS])(void);
	} any;
} statsobj;

static rsRetVal (*addCounter)(statsobj_t *, const uchar *, statsCtrType_t, int8_t, void *) = NULL;

void
statisticsUse(const obj_if_t *obj)
{
	for(size_t i = 0 ; i < sizeof(layouts) / sizeof(layouts[0]) ; ++i) {
		/* a refusal leaves its mark in the structure */
		memset(&statsobj, 0, sizeof(statsobj));
		statsobj.any.ifVersion = layouts[i].version;
		if(obj->UseObj(__FILE__, (uchar *)"statsobj", NULL, (interface_t *)&statsobj) == RS_RET_OK) {
			addCounter = (__typeof__(addCounter))statsobj.any.methods[layouts[i].addCounter];
			return;
		}
	}
	LogMsg(0, NO_ERRCODE, LOG_INFO, "omvalkeyaudit: this rsyslogd's interface for statistics is "
		"not known, so impstats does not show this module's counters");
}

rsRetVal
statisticsNew(statsobj_t **ppStats, const omvalkeyaudit_action *action)
{
	const char *name;
	int isLevel;
	uint64_t *count;
	statsobj_t *stats = NULL;
	DEFiRet;

	if(addCounter == NULL)
		FINALIZE;
	CHKiRet(statsobj.common.Construct(&stats));
	CHKiRet(statsobj.common.SetName(stats, (uchar *)omvalkeyaudit_action_stats_name(action)));
	CHKiRet(statsobj.common.SetOrigin(stats, (uchar *)"omvalkeyaudit"));
	for(size_t i = 0 ; (count = omvalkeyaudit_action_counter(action, i, &name, &isLevel)) != NULL ; ++i)
		CHKiRet(addCounter(stats, (const uchar *)name, ctrType_IntCtr,
			isLevel ? CTR_FLAG_NONE : CTR_FLAG_RESETTABLE, count));
	CHKiRet(statsobj.common.ConstructFinalize(stats));
	*ppStats = stats;
finalize_it:
	if(iRet != RS_RET_OK && stats != NULL)
		statsobj.common.Destruct(&stats);
	RETiRet;
}

void
statisticsFree(statsobj_t **ppStats)
{
	if(*ppStats != NULL)
		statsobj.common.Destruct(ppStats);
}
