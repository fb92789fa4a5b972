/* Bytes on their way to a socket that belongs to a transport: the compiled twin of `_sending` in proxy.py.
 *
 * Knows:     that the kernel may take bytes at once when the transport keeps none that were to go before them.
 * Called by: proxy.py, if a compiler was there when this package was installed.
 * Never:     waits; touches a socket whose transport is closing, since its number may be another one's soon; loses or doubles a
 *            byte: what the kernel does not take, for whatever reason, is given to the transport.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <sys/socket.h>

/* Whether what a function says is true; -1 with an exception set. */
static int says(PyObject *function)
{
    PyObject *said = PyObject_CallNoArgs(function);
    int is_true = said == NULL ? -1 : PyObject_IsTrue(said);

    Py_XDECREF(said);
    return is_true;
}

/* send(place, waiting, is_closing, later, data) */
static PyObject *send_now(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    char *bytes;
    Py_ssize_t length, taken = 0;
    PyObject *rest, *done;
    int place, busy;

    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "send takes 5 arguments");
        return NULL;
    }
    place = (int)PyLong_AsLong(args[0]);
    if ((place == -1 && PyErr_Occurred()) || PyBytes_AsStringAndSize(args[4], &bytes, &length) < 0)
        return NULL;
    busy = says(args[1]);
    if (busy == 0)
        busy = says(args[2]);
    if (busy < 0)
        return NULL;
    if (!busy)
        taken = send(place, bytes, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken == length)
        Py_RETURN_NONE;
    if (taken <= 0)
        return PyObject_CallFunctionObjArgs(args[3], args[4], NULL);
    rest = PyBytes_FromStringAndSize(bytes + taken, length - taken);
    if (rest == NULL)
        return NULL;
    done = PyObject_CallFunctionObjArgs(args[3], rest, NULL);
    Py_DECREF(rest);
    return done;
}

static PyMethodDef methods[] = {
    /* A cast by way of void keeps compilers quiet about the other signature. */
    {"send", (PyCFunction)(void (*)(void))send_now, METH_FASTCALL, "See _sending of proxy.py."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_send",
    .m_doc = "The compiled twin of _sending in proxy.py.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__send(void)
{
    return PyModuleDef_Init(&module);
}
