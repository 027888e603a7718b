"use strict";
// Draws /openapi.json as a page; everything enters as text.

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

const nameOf = (reference) => reference.split("/").pop();

function typeOf(schema) {
  if (!schema) return make("code", "", "anything");
  if (schema.$ref) {
    const link = make("a", "", nameOf(schema.$ref));
    link.href = `#schema-${nameOf(schema.$ref)}`;
    return link;
  }
  const choices = schema.anyOf || schema.oneOf;
  if (choices) {
    const parts = choices.flatMap((choice, index) => (index ? [" or ", typeOf(choice)] : [typeOf(choice)]));
    return make("span", "", ...parts);
  }
  if (schema.type === "array") return make("span", "", "list of ", typeOf(schema.items));
  if (schema.enum) return make("code", "", schema.enum.map(String).join(" | "));
  if (schema.const !== undefined) return make("code", "", String(schema.const));
  if (schema.type === "object" && schema.additionalProperties && schema.additionalProperties !== true) {
    return make("span", "", "object of ", typeOf(schema.additionalProperties));
  }
  return make("code", "", schema.format ? `${schema.type}, ${schema.format}` : schema.type || "anything");
}

function table(rows) {
  return make("table", "", ...rows.map((cells) => make("tr", "", ...cells.map((cell) => make("td", "", cell)))));
}

function parameters(list) {
  return table(list.map((parameter) => [
    make("code", "", parameter.name),
    `${parameter.in}${parameter.required ? ", needed" : ""}`,
    typeOf(parameter.schema),
    [parameter.description || "", parameter.schema.default === undefined ? "" : `default ${parameter.schema.default}`]
      .filter(Boolean).join("; "),
  ]));
}

function contentOf(holder) {
  const content = Object.entries((holder && holder.content) || {})[0];
  return content ? make("span", "", content[0], ": ", typeOf(content[1].schema)) : make("span", "", "no body");
}

function operation(path, method, description) {
  const good = Object.keys(description.responses).filter((status) => status < "400");
  return make("article", "",
    make("div", "top", make("span", "class", method.toUpperCase()), make("h2", "", path)),
    make("p", "why", description.description || description.summary || ""),
    ...((description.parameters || []).length ? [parameters(description.parameters)] : []),
    ...(description.requestBody ? [make("p", "", make("b", "", "Body "), contentOf(description.requestBody))] : []),
    ...good.map((status) => make("p", "", make("b", "", `${status} `), contentOf(description.responses[status]))));
}

function schema(name, body) {
  const needed = new Set(body.required || []);
  const rows = Object.entries(body.properties || {}).map(([key, value]) => [
    make("code", "", key), needed.has(key) ? "" : "optional", typeOf(value), value.description || ""]);
  const drawn = make("article", "", make("div", "top", make("h2", "", name)),
    make("p", "why", body.description || ""), rows.length ? table(rows) : typeOf(body));
  drawn.id = `schema-${name}`;
  return drawn;
}

function draw(description) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, body] of Object.entries(methods)) {
      const group = (body.tags || ["other"])[0];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(operation(path, method, body));
    }
  }
  const parts = [make("p", "", description.info.description || "")];
  for (const [group, operations] of groups) parts.push(make("h3", "", group), ...operations);
  parts.push(make("h3", "", "shapes"));
  for (const [name, body] of Object.entries(description.components.schemas)) parts.push(schema(name, body));
  document.getElementById("docs").replaceChildren(...parts);
  if (location.hash) location.hash = String(location.hash);
}

fetch("/openapi.json").then((answer) => answer.json()).then(draw);
