/* The statistics object of an action, which impstats shows. */
#ifndef OMVALKEYAUDIT_STATISTICS_H
#define OMVALKEYAUDIT_STATISTICS_H

#include "obj.h"
#include "statsobj.h"
#include "omvalkeyaudit.h"

/* Finds the core's interface. To be called once; where the core's is not known, the log says so, and
 * there are no statistics objects. */
void statisticsUse(const obj_if_t *obj);

/* An object with all counters of the action. *ppStats stays NULL where the interface is not known. */
rsRetVal statisticsNew(statsobj_t **ppStats, const omvalkeyaudit_action *action);

/* To be called before the action is given back, because the counters are in it. */
void statisticsFree(statsobj_t **ppStats);

#endif
