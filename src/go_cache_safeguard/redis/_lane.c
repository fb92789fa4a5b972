/* The short way of bytes between a client and the server, without a line of Python: the compiled twin of lane.py.
 *
 * Knows:     that what a scan calls harmless may go to the server as it is, that what the server says may go to the client as it is,
 *            each only while the conversation allows it, and that the kernel may take bytes at once when the transport keeps none
 *            that were to go before them.
 * Called by: lane.py and fast.py, if a compiler was there when this package was installed.
 * Never:     decides about anything that is not harmless: it is handed over, whole, to the conversation. Waits. Touches a socket whose
 *            transport is closing, since its number may be another one's soon. Loses or doubles a byte: what the kernel does not take,
 *            for whatever reason, is given to the transport.
 */

#include "scan.h"
#include <errno.h>
#include <structmember.h>
#include <sys/socket.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wpedantic" /* Python keeps the functions of a type as `void *`, which ISO C does not know */

enum { CHUNK = 64 << 10 }; /* how much is read of a socket at once */

struct types {
    PyTypeObject *scanner, *sender, *lane;
};

/* Free an object of ours, whose type belongs to the heap as well. */
static void release(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc done = (freefunc)PyType_GetSlot(type, Py_tp_free);

    done(self);
    Py_DECREF(type);
}

static PyObject *allocate(PyTypeObject *type)
{
    allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);

    return make(type, 0);
}

/* Whether what a function says, perhaps of something, is true; -1 with an exception set. */
static int says(PyObject *function, PyObject *argument)
{
    PyObject *said = argument == NULL ? PyObject_CallNoArgs(function) : PyObject_CallFunctionObjArgs(function, argument, NULL);
    int is_true = said == NULL ? -1 : PyObject_IsTrue(said);

    Py_XDECREF(said);
    return is_true;
}

/* Some bytes: as an object, or where a socket was read into, which becomes an object when somebody wants one. */
struct chunk {
    PyObject *data; /* NULL if there is no object yet */
    struct text text;
};

/* All of the bytes as an object that belongs to the chunk. */
static PyObject *whole(struct chunk *chunk)
{
    if (chunk->data == NULL)
        chunk->data = PyBytes_FromStringAndSize(chunk->text.at, chunk->text.length);
    return chunk->data;
}

/* Scanner(forms, plain, arguments, argument_bytes, request_bytes): may be called as scan_python of fast.py, without `fast`. */

typedef struct {
    PyObject_HEAD
    struct scanner core;
} Scanner;

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *calls;
    int plain;
    long long arguments, argument_bytes, request_bytes;
    Scanner *self;

    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Scanner takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!pLLL:Scanner", &PyDict_Type, &calls, &plain, &arguments, &argument_bytes, &request_bytes))
        return NULL;
    self = (Scanner *)allocate(type); /* all zero */
    if (self == NULL)
        return NULL;
    Py_INCREF(calls);
    self->core.calls = calls;
    self->core.plain = plain;
    self->core.most_arguments = arguments;
    self->core.most_argument_bytes = argument_bytes;
    self->core.most_request_bytes = request_bytes;
    return (PyObject *)self;
}

static void scanner_dealloc(PyObject *object)
{
    Scanner *self = (Scanner *)object;

    for (int slot = 0; slot < KNOWN; slot++)
        forget(&self->core.known[slot]);
    Py_CLEAR(self->core.keys);
    Py_CLEAR(self->core.calls);
    release(object);
}

/* The keys of the last scan, which are the caller's now; NULL if there are none. */
static PyObject *take_keys(Scanner *self)
{
    PyObject *keys = self->core.keys;

    self->core.keys = NULL;
    return keys;
}

static PyObject *scanner_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    Scanner *self = (Scanner *)object;
    PyObject *data, *from = NULL, *keys;
    struct text text;
    char *bytes;
    Py_ssize_t start = 0, end;

    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "a scan takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "S|O:scan", &data, &from) || PyBytes_AsStringAndSize(data, &bytes, &text.length) < 0)
        return NULL;
    if (from != NULL)
        start = PyNumber_AsSsize_t(from, NULL);
    if (start == -1 && PyErr_Occurred())
        return NULL;
    text.at = bytes;
    end = scan_all(&self->core, text, start < 0 ? 0 : start > text.length ? text.length : start);
    keys = take_keys(self);
    if (end < 0) {
        Py_XDECREF(keys);
        return NULL;
    }
    return keys == NULL ? Py_BuildValue("(n[])", end) : Py_BuildValue("(nN)", end, keys);
}

static PyType_Slot scanner_slots[] = {
    {Py_tp_doc, "See scan_python of fast.py."},
    {Py_tp_new, scanner_new},
    {Py_tp_dealloc, scanner_dealloc},
    {Py_tp_call, scanner_call},
    {0, NULL},
};

static PyType_Spec scanner_spec = {
    .name = "go_cache_safeguard.redis._lane.Scanner",
    .basicsize = sizeof(Scanner),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = scanner_slots,
};

/* Sender(place, waiting, is_closing, later): see SenderPython of lane.py. */

typedef struct {
    PyObject_HEAD
    int place;
    int keeps; /* whether the transport may keep bytes of ours */
    PyObject *waiting, *is_closing, *later;
} Sender;

static PyObject *sender_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *waiting, *is_closing, *later;
    int place;
    Sender *self;

    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Sender takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "iOOO:Sender", &place, &waiting, &is_closing, &later))
        return NULL;
    self = (Sender *)allocate(type);
    if (self == NULL)
        return NULL;
    Py_INCREF(waiting);
    Py_INCREF(is_closing);
    Py_INCREF(later);
    self->place = place;
    self->waiting = waiting;
    self->is_closing = is_closing;
    self->later = later;
    return (PyObject *)self;
}

static int sender_traverse(PyObject *object, visitproc visit, void *arg)
{
    Sender *self = (Sender *)object;

    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->waiting);
    Py_VISIT(self->is_closing);
    Py_VISIT(self->later);
    return 0;
}

static int sender_clear(PyObject *object)
{
    Sender *self = (Sender *)object;

    Py_CLEAR(self->waiting);
    Py_CLEAR(self->is_closing);
    Py_CLEAR(self->later);
    return 0;
}

static void sender_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    sender_clear(object);
    release(object);
}

/* Give what the kernel did not take to the transport. */
static PyObject *sender_keep(Sender *self, PyObject *data)
{
    self->keeps = 1;
    return PyObject_CallFunctionObjArgs(self->later, data, NULL);
}

/* Whether bytes must go to the transport; -1 with an exception set. */
static int sender_is_busy(Sender *self)
{
    if (self->keeps) {
        self->keeps = says(self->waiting, NULL);
        if (self->keeps != 0)
            return self->keeps;
    }
    return says(self->is_closing, NULL);
}

/* The caller holds `self`. */
static PyObject *sender_send(Sender *self, struct chunk *chunk)
{
    Py_ssize_t taken = 0;
    PyObject *rest, *done;
    int busy;

    if (self->later == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing can be sent any more");
        return NULL;
    }
    busy = sender_is_busy(self);
    if (busy < 0)
        return NULL;
    if (!busy)
        taken = send(self->place, chunk->text.at, (size_t)chunk->text.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken == chunk->text.length)
        Py_RETURN_NONE;
    if (taken <= 0) {
        rest = whole(chunk);
        return rest == NULL ? NULL : sender_keep(self, rest);
    }
    rest = PyBytes_FromStringAndSize(chunk->text.at + taken, chunk->text.length - taken);
    if (rest == NULL)
        return NULL;
    done = sender_keep(self, rest);
    Py_DECREF(rest);
    return done;
}

static PyObject *sender_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct chunk chunk = {NULL, {NULL, 0}};
    char *bytes;

    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "bytes are sent without keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "S:send", &chunk.data) || PyBytes_AsStringAndSize(chunk.data, &bytes, &chunk.text.length) < 0)
        return NULL;
    chunk.text.at = bytes;
    return sender_send((Sender *)object, &chunk);
}

static PyType_Slot sender_slots[] = {
    {Py_tp_doc, "See SenderPython of lane.py."},
    {Py_tp_new, sender_new},
    {Py_tp_dealloc, sender_dealloc},
    {Py_tp_traverse, sender_traverse},
    {Py_tp_clear, sender_clear},
    {Py_tp_call, sender_call},
    {0, NULL},
};

static PyType_Spec sender_spec = {
    .name = "go_cache_safeguard.redis._lane.Sender",
    .basicsize = sizeof(Sender),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = sender_slots,
};

/* Lane(on_client, on_server): see LanePython of lane.py. */

typedef struct {
    PyObject_HEAD
    char quick, plain, heard, traffic;
    double last;
    PyObject *scanner, *fine, *to_client, *to_server, *on_client, *on_server;
    struct types *types;
} Lane;

static PyObject *lane_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *on_client, *on_server;
    Lane *self;

    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Lane takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OO:Lane", &on_client, &on_server))
        return NULL;
    self = (Lane *)allocate(type);
    if (self == NULL)
        return NULL;
    self->types = PyType_GetModuleState(type);
    self->heard = 1;
    Py_INCREF(on_client);
    Py_INCREF(on_server);
    self->on_client = on_client;
    self->on_server = on_server;
    return (PyObject *)self;
}

static int lane_traverse(PyObject *object, visitproc visit, void *arg)
{
    Lane *self = (Lane *)object;

    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->scanner);
    Py_VISIT(self->fine);
    Py_VISIT(self->to_client);
    Py_VISIT(self->to_server);
    Py_VISIT(self->on_client);
    Py_VISIT(self->on_server);
    return 0;
}

static int lane_clear(PyObject *object)
{
    Lane *self = (Lane *)object;

    Py_CLEAR(self->scanner);
    Py_CLEAR(self->fine);
    Py_CLEAR(self->to_client);
    Py_CLEAR(self->to_server);
    Py_CLEAR(self->on_client);
    Py_CLEAR(self->on_server);
    return 0;
}

static void lane_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    lane_clear(object);
    release(object);
}

/* Call what is somewhere in a lane, and may be replaced there by what it does. */
static PyObject *call(PyObject *function, struct chunk *chunk)
{
    PyObject *data, *done;

    if (function == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this lane leads nowhere any more");
        return NULL;
    }
    data = whole(chunk);
    if (data == NULL)
        return NULL;
    Py_INCREF(function);
    done = PyObject_CallFunctionObjArgs(function, data, NULL);
    Py_DECREF(function);
    return done;
}

/* Give bytes to the other side. */
static PyObject *give(Lane *self, PyObject *to, struct chunk *chunk)
{
    PyObject *done;

    if (Py_TYPE(to) != self->types->sender)
        return call(to, chunk);
    Py_INCREF(to);
    done = sender_send((Sender *)to, chunk);
    Py_DECREF(to);
    return done;
}

static int leads_to(PyObject *side)
{
    return side != NULL && side != Py_None;
}

/* Whether all of these bytes are harmless; -1 with an exception set. */
static int is_harmless(Lane *self, struct text text)
{
    Scanner *scanner = (Scanner *)self->scanner;
    Py_ssize_t end;
    PyObject *keys;
    int fine;

    if (self->scanner == NULL || Py_TYPE(self->scanner) != self->types->scanner)
        return 0;
    end = scan_all(&scanner->core, text, 0);
    keys = take_keys(scanner);
    fine = end < 0 ? -1 : end == text.length && end > 0;
    if (fine > 0 && keys != NULL)
        fine = leads_to(self->fine) ? says(self->fine, keys) : 0;
    Py_XDECREF(keys);
    return fine;
}

static double monotonic(void)
{
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static PyObject *from_client(Lane *self, struct chunk *chunk)
{
    if (self->quick && leads_to(self->to_server)) {
        int harmless = is_harmless(self, chunk->text);

        if (harmless < 0)
            return NULL;
        if (harmless && leads_to(self->to_server)) {
            self->last = monotonic();
            self->heard = 0;
            return give(self, self->to_server, chunk);
        }
    }
    return call(self->on_client, chunk);
}

static PyObject *from_server(Lane *self, struct chunk *chunk)
{
    if (self->plain && leads_to(self->to_client)) {
        self->heard = self->traffic = 1;
        return give(self, self->to_client, chunk);
    }
    return call(self->on_server, chunk);
}

typedef PyObject *(*direction)(Lane *, struct chunk *);

/* Let bytes that a transport has read go by, or hand them over. */
static PyObject *sent(PyObject *object, PyObject *data, direction way)
{
    struct chunk chunk = {data, {NULL, 0}};
    char *bytes;

    if (PyBytes_AsStringAndSize(data, &bytes, &chunk.text.length) < 0)
        return NULL;
    chunk.text.at = bytes;
    return way((Lane *)object, &chunk);
}

/* Read a socket once, and do the same with what was there: ready(place, ended). */
static PyObject *ready(PyObject *object, PyObject *const *args, Py_ssize_t count, direction way)
{
    char bytes[CHUNK];
    struct chunk chunk = {NULL, {bytes, 0}};
    PyObject *done;
    long place;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "the number of a socket and what is called at its end are needed");
        return NULL;
    }
    place = PyLong_AsLong(args[0]);
    if (place == -1 && PyErr_Occurred())
        return NULL;
    chunk.text.length = recv((int)place, bytes, sizeof bytes, MSG_DONTWAIT);
    if (chunk.text.length < 0 && (errno == EAGAIN || errno == EINTR))
        Py_RETURN_NONE;
    if (chunk.text.length <= 0)
        return PyObject_CallFunction(args[1], "i", chunk.text.length == 0 ? 0 : errno);
    Py_INCREF(object);
    done = way((Lane *)object, &chunk);
    Py_DECREF(object);
    Py_XDECREF(chunk.data);
    return done;
}

static PyObject *lane_client_sent(PyObject *object, PyObject *data)
{
    return sent(object, data, from_client);
}

static PyObject *lane_server_sent(PyObject *object, PyObject *data)
{
    return sent(object, data, from_server);
}

static PyObject *lane_client_ready(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    return ready(object, args, count, from_client);
}

static PyObject *lane_server_ready(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    return ready(object, args, count, from_server);
}

static PyMethodDef lane_methods[] = {
    {"client_sent", lane_client_sent, METH_O, "See LanePython of lane.py."},
    {"server_sent", lane_server_sent, METH_O, "See LanePython of lane.py."},
    {"client_ready", (PyCFunction)(void (*)(void))lane_client_ready, METH_FASTCALL, "See LanePython of lane.py."},
    {"server_ready", (PyCFunction)(void (*)(void))lane_server_ready, METH_FASTCALL, "See LanePython of lane.py."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef lane_members[] = {
    {"quick", T_BOOL, offsetof(Lane, quick), 0, NULL},
    {"plain", T_BOOL, offsetof(Lane, plain), 0, NULL},
    {"heard", T_BOOL, offsetof(Lane, heard), 0, NULL},
    {"traffic", T_BOOL, offsetof(Lane, traffic), 0, NULL},
    {"last", T_DOUBLE, offsetof(Lane, last), 0, NULL},
    {"scanner", T_OBJECT, offsetof(Lane, scanner), 0, NULL},
    {"fine", T_OBJECT, offsetof(Lane, fine), 0, NULL},
    {"to_client", T_OBJECT, offsetof(Lane, to_client), 0, NULL},
    {"to_server", T_OBJECT, offsetof(Lane, to_server), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot lane_slots[] = {
    {Py_tp_doc, "See LanePython of lane.py."},
    {Py_tp_new, lane_new},
    {Py_tp_dealloc, lane_dealloc},
    {Py_tp_traverse, lane_traverse},
    {Py_tp_clear, lane_clear},
    {Py_tp_methods, lane_methods},
    {Py_tp_members, lane_members},
    {0, NULL},
};

static PyType_Spec lane_spec = {
    .name = "go_cache_safeguard.redis._lane.Lane",
    .basicsize = sizeof(Lane),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lane_slots,
};

/* The module */

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);

    if (type != NULL && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

static int fill(PyObject *module)
{
    struct types *types = PyModule_GetState(module);

    types->scanner = add_type(module, &scanner_spec);
    types->sender = types->scanner == NULL ? NULL : add_type(module, &sender_spec);
    types->lane = types->sender == NULL ? NULL : add_type(module, &lane_spec);
    return types->lane == NULL ? -1 : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct types *types = PyModule_GetState(module);

    Py_VISIT(types->scanner);
    Py_VISIT(types->sender);
    Py_VISIT(types->lane);
    return 0;
}

static int module_clear(PyObject *module)
{
    struct types *types = PyModule_GetState(module);

    Py_CLEAR(types->scanner);
    Py_CLEAR(types->sender);
    Py_CLEAR(types->lane);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, fill},
    {0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_lane",
    .m_doc = "The compiled twins of scan_python in fast.py, and of lane.py.",
    .m_size = sizeof(struct types),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__lane(void)
{
    return PyModuleDef_Init(&module);
}
