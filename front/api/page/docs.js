"use strict";

// Renders the OpenAPI document of the node that serves this page. Everything
// from the document enters the page as text, never as markup.

const methods = ["get", "post", "put", "patch", "delete"];

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return node;
}

// prose renders the little Markdown the document uses: paragraphs and `code`.
function prose(text) {
  return (text || "").split(/\n\n+/).filter(Boolean).map((paragraph) =>
    el("p", {}, ...paragraph.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part))));
}

function resolve(doc, thing) {
  for (let depth = 0; thing && thing.$ref && depth < 20; depth++) {
    thing = thing.$ref.replace(/^#\//, "").split("/")
      .reduce((at, key) => at && at[key.replace(/~1/g, "/").replace(/~0/g, "~")], doc);
  }
  return thing || {};
}

function refName(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").pop() : "";
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return refName(schema);
  const types = [].concat(schema.type || []).filter((t) => t !== "null");
  if (types.includes("array")) return "list of " + (typeOf(schema.items) || "anything");
  let text = types.join(" or ") || "anything";
  if (schema.format) text += " (" + schema.format + ")";
  return text;
}

function typeCell(schema) {
  const named = schema && (schema.$ref ? schema : schema.items && schema.items.$ref ? schema.items : null);
  if (!named) return el("td", {}, typeOf(schema));
  const link = el("a", { href: "#schema-" + refName(named) }, refName(named));
  return el("td", {}, named === schema ? "" : "list of ", link);
}

function notes(schema, description) {
  const s = schema || {};
  const parts = [];
  if (description || s.description) parts.push(description || s.description);
  if (s.enum) parts.push("one of " + s.enum.join(", "));
  if (s.default !== undefined) parts.push("default " + s.default);
  if (s.minimum !== undefined) parts.push("at least " + s.minimum);
  if (s.maximum !== undefined) parts.push("at most " + s.maximum);
  return parts.join("; ");
}

function table(rows) {
  return el("table", {}, el("tbody", {}, ...rows));
}

function row(name, required, schema, description) {
  return el("tr", {},
    el("td", {}, el("code", {}, name), required ? "" : el("span", { class: "quiet" }, " optional")),
    typeCell(schema),
    el("td", {}, notes(schema, description)));
}

function bodies(doc, content) {
  return Object.entries(content || {}).map(([media, body]) => {
    const line = el("p", {}, el("code", {}, media), " ");
    const name = refName(body.schema);
    line.append(name ? el("a", { href: "#schema-" + name }, name) : typeOf(body.schema));
    return line;
  });
}

function operation(doc, path, method, op) {
  const box = el("article", { id: op.operationId });
  box.append(el("h3", {}, el("span", { class: "method " + method }, method.toUpperCase()), path));
  const scopes = (op.security || []).flatMap((s) => Object.values(s).flat());
  box.append(el("p", {}, op.summary || "", " ",
    el("span", { class: "quiet" }, scopes.length ? "needs " + scopes.join(", ") : "public")));
  box.append(...prose(op.description));
  const parameters = (op.parameters || []).map((p) => resolve(doc, p));
  if (parameters.length) {
    box.append(el("h4", {}, "Parameters"),
      table(parameters.map((p) => row(p.in === "path" ? "{" + p.name + "}" : p.name, p.required, p.schema, p.description))));
  }
  if (op.requestBody) box.append(el("h4", {}, "Body"), ...bodies(doc, resolve(doc, op.requestBody).content));
  for (const [status, raw] of Object.entries(op.responses || {})) {
    const answer = resolve(doc, raw);
    box.append(el("h4", {}, status === "default" ? "Otherwise" : status, " ", answer.description || ""), ...bodies(doc, answer.content));
  }
  return box;
}

function schemaBox(doc, name, schema) {
  const box = el("article", { id: "schema-" + name }, el("h3", {}, name), ...prose(schema.description));
  const required = schema.required || [];
  const rows = Object.entries(schema.properties || {}).map(([key, s]) => row(key, required.includes(key), s));
  if (rows.length) box.append(table(rows));
  return box;
}

function render(doc) {
  const main = document.getElementById("document");
  const nav = document.getElementById("contents");
  main.replaceChildren(el("h1", {}, doc.info.title, " API ", el("span", { class: "quiet" }, doc.info.version)), ...prose(doc.info.description),
    el("p", {}, "The document: ", el("a", { href: "/v1/openapi.json" }, "JSON"), ", ", el("a", { href: "/v1/openapi.yaml" }, "YAML"),
      ". An example: ", el("code", {}, "curl -H 'Authorization: Bearer firth_…' " + location.origin + "/v1/contents")));
  const all = Object.entries(doc.paths).flatMap(([path, item]) =>
    methods.filter((m) => item[m]).map((m) => ({ path, method: m, op: item[m] })));
  for (const tag of doc.tags || []) {
    const here = all.filter((o) => (o.op.tags || []).includes(tag.name));
    if (!here.length) continue;
    main.append(el("section", {}, el("h2", {}, tag.name), ...prose(tag.description),
      ...here.map((o) => operation(doc, o.path, o.method, o.op))));
    nav.append(el("h2", {}, tag.name), ...here.map((o) => el("a", { href: "#" + o.op.operationId }, o.op.summary)));
  }
  const schemas = Object.entries(doc.components.schemas || {});
  main.append(el("section", {}, el("h2", {}, "schemas"), ...schemas.map(([name, s]) => schemaBox(doc, name, s))));
  nav.append(el("h2", {}, "schemas"), ...schemas.map(([name]) => el("a", { href: "#schema-" + name }, name)));
  if (location.hash) location.replace(location.hash);
}

fetch("/v1/openapi.json")
  .then((r) => (r.ok ? r.json() : Promise.reject(new Error("the node answered with status " + r.status))))
  .then(render)
  .catch((err) => { document.getElementById("document").replaceChildren(el("p", {}, "No document: " + err.message)); });
