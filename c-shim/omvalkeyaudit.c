/* omvalkeyaudit.c
 * This is the implementation of the omvalkeyaudit output module's side that faces rsyslog. It holds
 * the module interface and copies values; everything about records, batches and servers is in the
 * Rust library behind omvalkeyaudit.h.
 *
 * Licensed under the Apache License, Version 2.0; see LICENSE.
 *
 * Concurrency & Locking
 *   - instanceData is written by newActInst only and read-only from then on. The action behind it is
 *     shared by all workers; the library locks what can change. (Statistics: see statistics.c.)
 *   - doHUP runs on the main thread, while workers are at work: it only tells the action.
 *   - wrkrInstanceData_t belongs to the worker thread that rsyslog calls us on. Nothing of it is
 *     shared, and no call of ours takes a lock of rsyslog's.
 *   - Configuration runs before rsyslogd forks: nothing here starts a thread or opens a socket
 *     before a worker's first transaction.
 *   - The module stays in memory (MODULE_TYPE_KEEP, and linked with -z nodelete), because a Rust
 *     library with thread-locals cannot be unloaded safely.
 */
#include "config.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "rsyslog.h"
#include "conf.h"
#include "syslogd-types.h"
#include "srUtils.h"
#include "template.h"
#include "module-template.h"
#include "errmsg.h"
#include "cfsysline.h"
#include "omvalkeyaudit.h"
#include "statistics.h"

MODULE_TYPE_OUTPUT
MODULE_TYPE_KEEP
MODULE_CNFNAME("omvalkeyaudit")

DEF_OMOD_STATIC_DATA;

#define MESSAGE_TEMPLATE_TEXT "\"%msg%\""

typedef struct _instanceData {
	const omvalkeyaudit_action *action;
	statsobj_t *stats;	/* NULL where the core's interface is not known */
	int nTemplates;
} instanceData;

typedef struct wrkrInstanceData {
	instanceData *pData;
	omvalkeyaudit_worker *worker;
} wrkrInstanceData_t;

struct modConfData_s {
	rsconf_t *pConf;	/* our overall config object */
};

/* Parameters of the core's, which we read as well: the name is in our log lines, how often it retries
 * decides what a lasting outage costs, and the kind of queue what becomes of the batch at hand at a
 * stop. Reading them takes nothing away from the core. */
#define NAME_PARAM "name"
#define RETRIES_PARAM "action.resumeretrycount"
#define QUEUE_TYPE_PARAM "queue.type"
#define QUEUE_FILE_PARAM "queue.filename"
#define QUEUE_SAVED_PARAM "queue.saveonshutdown"
#define CORE_PARAMS 5

/* filled from the library's table when the module is loaded */
static struct cnfparamblk actpblk = { CNFPARAMBLK_VERSION, 0, NULL };

static void
logLine(int severity, const char *text, size_t length)
{
	LogMsg(0, NO_ERRCODE, severity, "%.*s", (int)length, text);
}

static const omvalkeyaudit_host host = { logLine };

static rsRetVal
fillParamBlk(void)
{
	struct cnfparamdescr *descr;
	omvalkeyaudit_kind kind;
	const char *name;
	size_t n = 0;
	DEFiRet;

	if(actpblk.descr != NULL)
		FINALIZE;
	while(omvalkeyaudit_parameter(n, &kind) != NULL)
		++n;
	CHKmalloc(descr = calloc(n + CORE_PARAMS, sizeof(struct cnfparamdescr)));
	for(size_t i = 0 ; (name = omvalkeyaudit_parameter(i, &kind)) != NULL ; ++i) {
		descr[i].name = name;
		descr[i].type = (kind == OMVALKEYAUDIT_LIST) ? eCmdHdlrArray : eCmdHdlrString;
	}
	descr[n].name = NAME_PARAM;
	descr[n].type = eCmdHdlrString;
	descr[n + 1].name = RETRIES_PARAM;
	descr[n + 1].type = eCmdHdlrInt;
	descr[n + 2].name = QUEUE_TYPE_PARAM;
	descr[n + 2].type = eCmdHdlrString;
	descr[n + 3].name = QUEUE_FILE_PARAM;
	descr[n + 3].type = eCmdHdlrString;
	descr[n + 4].name = QUEUE_SAVED_PARAM;
	descr[n + 4].type = eCmdHdlrBinary;
	actpblk.nParams = (unsigned short)(n + CORE_PARAMS);
	actpblk.descr = descr;
finalize_it:
	RETiRet;
}

static void
addValue(omvalkeyaudit_values *values, const char *name, es_str_t *value)
{
	omvalkeyaudit_values_add(values, name, (const char *)es_getBufAddr(value), es_strlen(value));
}

BEGINcreateInstance
CODESTARTcreateInstance
ENDcreateInstance


BEGINcreateWrkrInstance
CODESTARTcreateWrkrInstance
	if((pWrkrData->worker = omvalkeyaudit_worker_new(pData->action)) == NULL) {
		free(pWrkrData);
		pWrkrData = NULL;
		iRet = RS_RET_ERR;
	}
ENDcreateWrkrInstance


BEGINisCompatibleWithFeature
CODESTARTisCompatibleWithFeature
	if(eFeat == sFEATURERepeatedMsgReduction)
		iRet = RS_RET_OK;
ENDisCompatibleWithFeature


BEGINfreeInstance
CODESTARTfreeInstance
	statisticsFree(&pData->stats);
	omvalkeyaudit_action_free(pData->action);
ENDfreeInstance


BEGINfreeWrkrInstance
CODESTARTfreeWrkrInstance
	omvalkeyaudit_worker_free(pWrkrData->worker);
ENDfreeWrkrInstance


BEGINdbgPrintInstInfo
CODESTARTdbgPrintInstInfo
	dbgprintf("omvalkeyaudit\n");
	dbgprintf("\ttemplates: %d\n", pData->nTemplates);
ENDdbgPrintInstInfo


BEGINtryResume
CODESTARTtryResume
	iRet = omvalkeyaudit_try_resume(pWrkrData->worker);
	DBGPRINTF("omvalkeyaudit: tryResume returns %d\n", iRet);
ENDtryResume


BEGINbeginTransaction
CODESTARTbeginTransaction
	iRet = omvalkeyaudit_begin_transaction(pWrkrData->worker);
	DBGPRINTF("omvalkeyaudit: beginTransaction returns %d\n", iRet);
ENDbeginTransaction


BEGINdoAction
CODESTARTdoAction
	iRet = omvalkeyaudit_do_action(pWrkrData->worker, (const char *const *)ppString);
	DBGPRINTF("omvalkeyaudit: doAction returns %d\n", iRet);
ENDdoAction


BEGINendTransaction
CODESTARTendTransaction
	iRet = omvalkeyaudit_end_transaction(pWrkrData->worker);
	DBGPRINTF("omvalkeyaudit: endTransaction returns %d\n", iRet);
ENDendTransaction


BEGINdoHUP
CODESTARTdoHUP
	omvalkeyaudit_action_hup(pData->action);
ENDdoHUP


BEGINnewActInst
	struct cnfparamvals *pvals;
	omvalkeyaudit_values *values = NULL;
	char *actionName = NULL;
	int64_t retries = 0;	/* the core's default */
	char *queueType = NULL;
	omvalkeyaudit_queue queue = { NULL, 0, 1 };	/* the core's defaults */
	uchar *tplName = NULL;
	const char *name;
CODESTARTnewActInst
	if((pvals = nvlstGetParams(lst, &actpblk, NULL)) == NULL)
		ABORT_FINALIZE(RS_RET_MISSING_CNFPARAMS);

	CHKiRet(createInstance(&pData));
	CHKmalloc(values = omvalkeyaudit_values_new());
	for(int i = 0 ; i < actpblk.nParams ; ++i) {
		if(!pvals[i].bUsed)
			continue;
		name = actpblk.descr[i].name;
		if(!strcmp(name, NAME_PARAM)) {
			CHKmalloc(actionName = es_str2cstr(pvals[i].val.d.estr, NULL));
			continue;
		}
		if(!strcmp(name, RETRIES_PARAM)) {
			retries = pvals[i].val.d.n;
			continue;
		}
		if(!strcmp(name, QUEUE_TYPE_PARAM)) {
			CHKmalloc(queueType = es_str2cstr(pvals[i].val.d.estr, NULL));
			queue.type = queueType;
			continue;
		}
		if(!strcmp(name, QUEUE_FILE_PARAM)) {
			queue.has_file = 1;
			continue;
		}
		if(!strcmp(name, QUEUE_SAVED_PARAM)) {
			queue.is_saved = (int)pvals[i].val.d.n;
			continue;
		}
		if(actpblk.descr[i].type == eCmdHdlrArray) {
			for(int j = 0 ; j < pvals[i].val.d.ar->nmemb ; ++j)
				addValue(values, name, pvals[i].val.d.ar->arr[j]);
			continue;
		}
		addValue(values, name, pvals[i].val.d.estr);
	}

	if((pData->action = omvalkeyaudit_action_new(actionName, retries, &queue, values)) == NULL)
		ABORT_FINALIZE(RS_RET_CONF_PARAM_INVLD); /* the library has said what is wrong */
	CHKiRet(statisticsNew(&pData->stats, pData->action));
	while(omvalkeyaudit_action_template(pData->action, pData->nTemplates) != NULL)
		++pData->nTemplates;

	CODE_STD_STRING_REQUESTnewActInst(pData->nTemplates);
	for(int i = 0 ; i < pData->nTemplates ; ++i) {
		CHKmalloc(tplName = (uchar *)strdup(omvalkeyaudit_action_template(pData->action, i)));
		/* OMSR takes the name over, also when it fails */
		iRet = OMSRsetEntry(*ppOMSR, i, tplName, OMSR_NO_RQD_TPL_OPTS);
		tplName = NULL;
		if(iRet != RS_RET_OK)
			FINALIZE;
	}
CODE_STD_FINALIZERnewActInst
	free(tplName);
	free(actionName);
	free(queueType);
	omvalkeyaudit_values_free(values);
	if(pvals != NULL)
		cnfparamvalsDestruct(pvals, &actpblk);
ENDnewActInst


BEGINbeginCnfLoad
	uchar *tplText = (uchar *)MESSAGE_TEMPLATE_TEXT;
CODESTARTbeginCnfLoad
	pModConf->pConf = pConf;
	tplAddLine(pConf, OMVALKEYAUDIT_MESSAGE_TEMPLATE, &tplText);
ENDbeginCnfLoad


BEGINendCnfLoad
CODESTARTendCnfLoad
ENDendCnfLoad


BEGINcheckCnf
CODESTARTcheckCnf
ENDcheckCnf


BEGINactivateCnf
CODESTARTactivateCnf
ENDactivateCnf


BEGINfreeCnf
CODESTARTfreeCnf
ENDfreeCnf


NO_LEGACY_CONF_parseSelectorAct


BEGINmodExit
CODESTARTmodExit
ENDmodExit


BEGINqueryEtryPt
CODESTARTqueryEtryPt
CODEqueryEtryPt_STD_OMOD_QUERIES
CODEqueryEtryPt_STD_OMOD8_QUERIES
CODEqueryEtryPt_STD_CONF2_CNFNAME_QUERIES
CODEqueryEtryPt_STD_CONF2_QUERIES
CODEqueryEtryPt_STD_CONF2_OMOD_QUERIES
CODEqueryEtryPt_TXIF_OMOD_QUERIES
CODEqueryEtryPt_doHUP
ENDqueryEtryPt


/* Not named modInit: the library exports that name, and forwards to this function. */
BEGINmodInit(Shim)
CODESTARTmodInit;
	*ipIFVersProvided = CURR_MOD_IF_VERSION; /* we only support the current interface specification */
CODEmodInit_QueryRegCFSLineHdlr;
	INITChkCoreFeature(bCoreSupportsBatching, CORE_FEATURE_BATCHING);
	omvalkeyaudit_attach(&host);
	if(!bCoreSupportsBatching) {
		LogError(0, NO_ERRCODE, "omvalkeyaudit: this rsyslogd does not batch output; "
			"rsyslog 8.2302 or later is needed");
		ABORT_FINALIZE(RS_RET_ERR);
	}
	statisticsUse(&obj);
	CHKiRet(fillParamBlk());
ENDmodInit
